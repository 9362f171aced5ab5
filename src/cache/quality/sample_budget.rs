//! The budget of calls that the gateway makes for itself: how many run at once, and tokens per hour.
//!
//! It consists of atomics, because the data core uses it. It must not know what the calls are for.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Calls in flight at once; further ones are not made.
pub(crate) const IN_FLIGHT_MAX: u64 = 64;

/// Tokens and calls taken from the budget.
#[derive(Default)]
pub struct SampleBudget {
    hour: AtomicU64,
    tokens: AtomicU64,
    in_flight: AtomicU64,
}

impl SampleBudget {
    /// Reserves `tokens` of the budget of this hour; false when they exceed it.
    pub(crate) fn reserve(&self, tokens: u64, tokens_max: u64, hour: u64) -> bool {
        if self.hour.swap(hour, Relaxed) != hour {
            self.tokens.store(0, Relaxed);
        }
        let taken = self.tokens.fetch_add(tokens, Relaxed);
        let fits = taken.saturating_add(tokens) <= tokens_max;
        if !fits {
            self.tokens.fetch_sub(tokens, Relaxed);
        }
        fits
    }

    /// Replaces the `expected` tokens that were reserved for a call by those it `spent`.
    pub(crate) fn record_spent(&self, expected: u64, spent: u64) {
        self.tokens.fetch_add(spent, Relaxed);
        let release = |tokens: u64| Some(tokens.saturating_sub(expected));
        let updated = self.tokens.fetch_update(Relaxed, Relaxed, release);
        debug_assert!(updated.is_ok(), "the update always gives a value");
    }

    /// Takes a permit for a call; false when all are taken. [`SampleBudget::release_permit`] returns it.
    pub(crate) fn take_permit(&self) -> bool {
        let taken = self.in_flight.fetch_add(1, Relaxed) < IN_FLIGHT_MAX;
        if !taken {
            self.release_permit();
        }
        taken
    }

    pub(crate) fn release_permit(&self) {
        let before = self.in_flight.fetch_sub(1, Relaxed);
        debug_assert!(before > 0, "a permit is released once");
    }

    /// Calls in flight.
    #[must_use]
    pub(crate) fn in_flight(&self) -> u64 {
        self.in_flight.load(Relaxed)
    }

    /// Tokens taken in the last hour that had a call.
    #[must_use]
    pub(crate) fn tokens(&self) -> u64 {
        self.tokens.load(Relaxed)
    }
}
