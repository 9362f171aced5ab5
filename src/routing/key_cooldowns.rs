//! The API keys of a target, each a lane of its own that can be set aside: for exactly as long as a 429
//! said, or for a while because the key was refused. A target without keys has one lane.
//!
//! Rate limits and permissions are per key and model at most providers, so lanes belong to a target.

use crate::routing::indices::KeyIndex;

/// Most keys of a target; the configuration allows as many.
pub(crate) const KEYS_MAX: usize = 64;
/// Longest time a provider's 429 is believed, in microseconds: a day, as for daily quotas.
pub(crate) const COOLDOWN_MAX_US: u64 = 24 * 3600 * 1_000_000;
/// How long a lane is avoided after a 429 that does not say how long, in microseconds; twice as long
/// each time …
pub(crate) const COOLDOWN_DEFAULT_US: u64 = 1_000_000;
/// … up to this: rate limits are counted by the minute.
pub(crate) const COOLDOWN_DEFAULT_MAX_US: u64 = 32_000_000;
/// How long a refused key is avoided, in microseconds: a person must act, and a new key in the
/// configuration counts at once.
pub(crate) const COOLDOWN_REFUSED_US: u64 = 300_000_000;

/// CooldownReason a lane is aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CooldownReason {
    /// A 429 that said for how long: nothing is sent before.
    RateLimited,
    /// A 429 that did not say: used only if there is nothing else.
    RateLimitedDefault,
    /// 401 or 403: used only if there is nothing else.
    Refused,
}

#[derive(Debug, Clone, Copy, Default)]
struct KeyState {
    cooldown: Option<(CooldownReason, u64)>,
    default_cooldowns: u32,
}

impl KeyState {
    fn cooldown(&self, now_us: u64) -> Option<(CooldownReason, u64)> {
        self.cooldown.filter(|(_, until_us)| now_us < *until_us)
    }
}

/// What the lanes let through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeyPermit {
    /// At least one lane is free.
    Free,
    /// None is free; one may be tried if no other target can be.
    LastResort {
        /// When the first is free, in microseconds.
        until_us: u64,
    },
    /// The provider asked for nothing to be sent until then, in microseconds.
    RateLimited {
        /// When the first is free.
        until_us: u64,
    },
}

/// The lanes of one target.
#[derive(Debug, Clone)]
pub(crate) struct KeyCooldowns {
    keys: Vec<KeyState>,
    turn: usize,
}

impl KeyCooldowns {
    /// Lanes for `keys` keys; one if there are none.
    #[must_use]
    pub(crate) fn new(keys: usize) -> Self {
        Self {
            keys: vec![KeyState::default(); keys.clamp(1, KEYS_MAX)],
            turn: 0,
        }
    }

    /// What they let through now.
    #[must_use]
    pub(crate) fn permit(&self, now_us: u64) -> KeyPermit {
        let mut until_us = u64::MAX;
        let mut is_limited = false;
        for key in &self.keys {
            let Some((reason, until)) = key.cooldown(now_us) else {
                return KeyPermit::Free;
            };
            // A refused key does not come back by waiting as long as a limit lasts.
            if reason == CooldownReason::RateLimited && !is_limited {
                (is_limited, until_us) = (true, until);
            } else if (reason == CooldownReason::RateLimited) == is_limited {
                until_us = until_us.min(until);
            }
        }
        if is_limited {
            KeyPermit::RateLimited { until_us }
        } else {
            KeyPermit::LastResort { until_us }
        }
    }

    /// The next free lane, in turn; else the one that is free first.
    pub(crate) fn pick(&mut self, now_us: u64) -> KeyIndex {
        let count = self.keys.len();
        let start = self.turn % count;
        let mut turned = (start..count).chain(0..start);
        let free = turned.find(|at| {
            let key = self.keys.get(*at);
            key.is_some_and(|key| key.cooldown(now_us).is_none())
        });
        if let Some(free) = free {
            self.turn = free + 1;
            return KeyIndex::new(free);
        }
        let until = |key: &KeyState| key.cooldown.map_or(0, |(_, until_us)| until_us);
        let soonest = self
            .keys
            .iter()
            .enumerate()
            .min_by_key(|(_, key)| until(key));
        KeyIndex::new(soonest.map_or(0, |(index, _)| index))
    }

    /// A good answer came by this lane.
    pub(crate) fn clear(&mut self, key_index: KeyIndex) {
        if let Some(key) = self.keys.get_mut(key_index.get()) {
            *key = KeyState::default();
        }
    }

    /// 429: sets the lane aside for as long as it said, or for a while. Says until when, and reason.
    pub(crate) fn rate_limited(
        &mut self,
        key_index: KeyIndex,
        wait_us: Option<u64>,
        now_us: u64,
    ) -> (CooldownReason, u64) {
        let Some(key) = self.keys.get_mut(key_index.get()) else {
            return (CooldownReason::RateLimitedDefault, now_us);
        };
        let (reason, wait_us) = match wait_us {
            Some(wait_us) => (CooldownReason::RateLimited, wait_us.min(COOLDOWN_MAX_US)),
            None => {
                let wait_us = (COOLDOWN_DEFAULT_US << key.default_cooldowns.min(8))
                    .min(COOLDOWN_DEFAULT_MAX_US);
                key.default_cooldowns += 1;
                (CooldownReason::RateLimitedDefault, wait_us)
            }
        };
        // Answers that were under way together may come in any order: the longest wait counts.
        let until_us = match key.cooldown(now_us) {
            Some((CooldownReason::RateLimited, until_us)) => until_us.max(now_us + wait_us),
            _ => now_us + wait_us,
        };
        key.cooldown = Some((reason, until_us));
        (reason, until_us)
    }

    /// 401 or 403: sets the lane aside. Says until when, and reason.
    pub(crate) fn refused(&mut self, key_index: KeyIndex, now_us: u64) -> (CooldownReason, u64) {
        let until_us = now_us + COOLDOWN_REFUSED_US;
        if let Some(key) = self.keys.get_mut(key_index.get()) {
            key.cooldown = Some((CooldownReason::Refused, until_us));
        }
        (CooldownReason::Refused, until_us)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000;

    #[test]
    fn keys_take_turns_and_those_aside_are_left_out() {
        assert_eq!(KEYS_MAX, crate::config::limits::API_KEYS.max);
        let mut key_cooldowns = KeyCooldowns::new(3);
        assert_eq!([0; 4].map(|_| key_cooldowns.pick(0).get()), [0, 1, 2, 0]);
        key_cooldowns.refused(KeyIndex::new(1), 0);
        assert_eq!([0; 4].map(|_| key_cooldowns.pick(1).get()), [2, 0, 2, 0]);
        assert_eq!(key_cooldowns.permit(1), KeyPermit::Free);
        assert_eq!(
            [0; 3].map(|_| key_cooldowns.pick(COOLDOWN_REFUSED_US).get()),
            [1, 2, 0]
        );
    }

    #[test]
    fn a_limit_holds_for_exactly_as_long_as_it_said() {
        let mut key_cooldowns = KeyCooldowns::new(0);
        key_cooldowns.rate_limited(KeyIndex::new(0), Some(7 * SECOND), SECOND);
        let until_us = 8 * SECOND;
        assert_eq!(
            key_cooldowns.permit(until_us - 1),
            KeyPermit::RateLimited { until_us }
        );
        assert_eq!(key_cooldowns.permit(until_us), KeyPermit::Free);
        key_cooldowns.rate_limited(KeyIndex::new(0), Some(u64::MAX), until_us);
        assert_eq!(
            key_cooldowns.permit(until_us + COOLDOWN_MAX_US),
            KeyPermit::Free
        );
    }

    #[test]
    fn what_was_not_said_grows_and_is_a_last_resort() {
        let mut key_cooldowns = KeyCooldowns::new(1);
        let waits =
            [0; 8].map(|_| key_cooldowns.rate_limited(KeyIndex::new(0), None, 0).1 / SECOND);
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 32, 32]);
        assert_eq!(
            key_cooldowns.permit(1),
            KeyPermit::LastResort {
                until_us: 32 * SECOND
            }
        );
        key_cooldowns.clear(KeyIndex::new(0));
        assert_eq!(
            key_cooldowns.rate_limited(KeyIndex::new(0), None, 0).1,
            SECOND
        );
    }

    #[test]
    fn a_refused_key_beside_a_limited_one_waits_for_the_limit() {
        let mut key_cooldowns = KeyCooldowns::new(2);
        key_cooldowns.refused(KeyIndex::new(0), 0);
        key_cooldowns.rate_limited(KeyIndex::new(1), Some(SECOND), 0);
        assert_eq!(
            key_cooldowns.permit(1),
            KeyPermit::RateLimited { until_us: SECOND }
        );
        assert_eq!(key_cooldowns.pick(SECOND).get(), 1);
        key_cooldowns.refused(KeyIndex::new(1), SECOND);
        assert!(matches!(
            key_cooldowns.permit(2 * SECOND),
            KeyPermit::LastResort { .. }
        ));
    }
}
