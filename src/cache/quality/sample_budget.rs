//! What calls beside the clients' own may take: so many at once, and so many tokens in an hour.
//!
//! Atomics only; the data core asks it. It must not know what the calls are for.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Such calls under way at once; further ones are not made.
pub(crate) const OPEN_MAX: u64 = 64;

/// What is taken of it.
#[derive(Default)]
pub struct SampleBudget {
    hour: AtomicU64,
    tokens: AtomicU64,
    open: AtomicU64,
}

impl SampleBudget {
    /// Whether a call of about so many tokens is within the budget of this hour; takes it if it is.
    pub fn spend(&self, tokens: u64, tokens_max: u64, hour: u64) -> bool {
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

    /// Books what a call cost instead of what was expected.
    pub fn settle(&self, expected: u64, spent: u64) {
        self.tokens.fetch_add(spent, Relaxed);
        let left = |tokens: u64| Some(tokens.saturating_sub(expected));
        let _ = self.tokens.fetch_update(Relaxed, Relaxed, left);
    }

    /// Takes a place for a call under way; false when all are taken. [`Allowance::leave`] gives it back.
    pub fn enter(&self) -> bool {
        let taken = self.open.fetch_add(1, Relaxed) < OPEN_MAX;
        if !taken {
            self.leave();
        }
        taken
    }

    /// Gives a place back.
    pub fn leave(&self) {
        self.open.fetch_sub(1, Relaxed);
    }

    /// Calls under way.
    #[must_use]
    pub fn open(&self) -> u64 {
        self.open.load(Relaxed)
    }

    /// Tokens taken in the last hour that had a call.
    #[must_use]
    pub fn tokens(&self) -> u64 {
        self.tokens.load(Relaxed)
    }
}
