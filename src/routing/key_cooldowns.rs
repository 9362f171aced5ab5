//! Cooldowns of the API keys of a target. A key rests for the `retry-after` of its last 429, or for a fixed time after a 401
//! or 403. A target without keys has one state, as if it had one key.
//!
//! Most providers apply rate limits and permissions per key and model, so each target has cooldowns of its own.

use crate::routing::indices::KeyIndex;

/// Most keys of a target. The configuration has the same limit.
pub(crate) const KEYS_MAX: usize = 64;
/// Longest cooldown that a provider's `retry-after` can cause, in microseconds: an hour. A single response must not close a
/// target for longer; where a quota of a day is used up, that costs one request an hour.
pub(crate) const COOLDOWN_MAX_US: u64 = 3600 * 1_000_000;
/// Cooldown after a 429 without `retry-after`, in microseconds. It doubles with each such 429.
pub(crate) const COOLDOWN_DEFAULT_US: u64 = 1_000_000;
/// Longest cooldown after a 429 without `retry-after`, in microseconds: rate limits are counted per minute.
pub(crate) const COOLDOWN_DEFAULT_MAX_US: u64 = 32_000_000;
/// Cooldown of a key that was refused, in microseconds. It is long because a person must act; a new key in the
/// configuration is used at once.
pub(crate) const COOLDOWN_REFUSED_US: u64 = 300_000_000;

/// Why a key is in cooldown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CooldownReason {
    /// A 429 with `retry-after`: nothing is sent before its end.
    RateLimited,
    /// A 429 without `retry-after`: the key is used only if no other target can be.
    RateLimitedDefault,
    /// 401 or 403: the key is used only if no other target can be.
    Refused,
}

/// When a key's cooldown ends, and why it began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cooldown {
    pub reason: CooldownReason,
    /// In microseconds.
    pub until_us: u64,
}

#[derive(Debug, Clone, Copy, Default)]
struct KeyState {
    cooldown: Option<Cooldown>,
    /// 429s without `retry-after` since the last good response.
    default_cooldowns: u32,
}

impl KeyState {
    fn cooldown(&self, now_us: u64) -> Option<Cooldown> {
        self.cooldown.filter(|cooldown| now_us < cooldown.until_us)
    }
}

/// Whether the keys of a target allow an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeyPermit {
    /// At least one key is not in cooldown.
    Free,
    /// All keys are in cooldown; one of them may be used if no other target can be.
    LastResort {
        /// When the first cooldown ends, in microseconds.
        until_us: u64,
    },
    /// The provider requires that nothing is sent.
    RateLimited {
        /// When the first rate limit ends, in microseconds.
        until_us: u64,
    },
}

/// The states of the keys of one target.
#[derive(Debug, Clone)]
pub(crate) struct KeyCooldowns {
    keys: Vec<KeyState>,
    turn: usize,
}

impl KeyCooldowns {
    /// States for `keys` keys; one state if there are none.
    #[must_use]
    pub(crate) fn new(keys: usize) -> Self {
        Self {
            keys: vec![KeyState::default(); keys.clamp(1, KEYS_MAX)],
            turn: 0,
        }
    }

    #[must_use]
    pub(crate) fn permit(&self, now_us: u64) -> KeyPermit {
        let mut until_us = u64::MAX;
        let mut is_limited = false;
        for key in &self.keys {
            let Some(cooldown) = key.cooldown(now_us) else {
                return KeyPermit::Free;
            };
            // Rate limits take precedence: they end by themselves, a refused key needs a person.
            let is_rate_limit = cooldown.reason == CooldownReason::RateLimited;
            if is_rate_limit && !is_limited {
                (is_limited, until_us) = (true, cooldown.until_us);
            } else if is_rate_limit == is_limited {
                until_us = until_us.min(cooldown.until_us);
            }
        }
        if is_limited {
            KeyPermit::RateLimited { until_us }
        } else {
            KeyPermit::LastResort { until_us }
        }
    }

    /// The next key that is not in cooldown: the keys take turns. If all are, the key whose cooldown ends first.
    pub(crate) fn pick(&mut self, now_us: u64) -> KeyIndex {
        let count = self.keys.len();
        let start = self.turn % count;
        let mut rotated = (start..count).chain(0..start);
        let free = rotated.find(|index| {
            let key = self.keys.get(*index);
            key.is_some_and(|key| key.cooldown(now_us).is_none())
        });
        if let Some(free) = free {
            self.turn = free + 1;
            return KeyIndex::new(free);
        }
        let until = |key: &KeyState| key.cooldown.map_or(0, |cooldown| cooldown.until_us);
        let soonest = self
            .keys
            .iter()
            .enumerate()
            .min_by_key(|(_, key)| until(key));
        KeyIndex::new(soonest.map_or(0, |(index, _)| index))
    }

    /// Ends all cooldowns.
    pub(crate) fn reset(&mut self) {
        self.keys.fill(KeyState::default());
    }

    /// Ends the cooldown of a key that got a good response.
    pub(crate) fn clear(&mut self, key_index: KeyIndex) {
        if let Some(key) = self.keys.get_mut(key_index.get()) {
            *key = KeyState::default();
        }
    }

    /// Begins a cooldown after a 429: for `wait_us` if the provider named a time, else for a default.
    pub(crate) fn rate_limited(
        &mut self,
        key_index: KeyIndex,
        wait_us: Option<u64>,
        now_us: u64,
    ) -> Cooldown {
        let Some(key) = self.keys.get_mut(key_index.get()) else {
            return Cooldown {
                reason: CooldownReason::RateLimitedDefault,
                until_us: now_us,
            };
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
        // Responses to requests in flight arrive in any order: the longest wait counts.
        let current = key.cooldown(now_us);
        let limited = current.filter(|cooldown| cooldown.reason == CooldownReason::RateLimited);
        let limited_until_us = limited.map_or(0, |cooldown| cooldown.until_us);
        let cooldown = Cooldown {
            reason,
            until_us: limited_until_us.max(now_us + wait_us),
        };
        key.cooldown = Some(cooldown);
        cooldown
    }

    /// Begins a cooldown after a 401 or 403.
    pub(crate) fn refused(&mut self, key_index: KeyIndex, now_us: u64) -> Cooldown {
        let cooldown = Cooldown {
            reason: CooldownReason::Refused,
            until_us: now_us + COOLDOWN_REFUSED_US,
        };
        if let Some(key) = self.keys.get_mut(key_index.get()) {
            key.cooldown = Some(cooldown);
        }
        cooldown
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000;

    #[test]
    fn keys_take_turns_and_those_in_cooldown_are_left_out() {
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
    fn a_rate_limit_lasts_exactly_as_long_as_retry_after() {
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
    fn a_default_cooldown_doubles_and_allows_a_last_resort() {
        let mut key_cooldowns = KeyCooldowns::new(1);
        let mut until_us = || {
            key_cooldowns
                .rate_limited(KeyIndex::new(0), None, 0)
                .until_us
        };
        let waits = [0; 8].map(|_| until_us() / SECOND);
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 32, 32]);
        assert_eq!(
            key_cooldowns.permit(1),
            KeyPermit::LastResort {
                until_us: 32 * SECOND
            }
        );
        key_cooldowns.clear(KeyIndex::new(0));
        assert_eq!(
            key_cooldowns
                .rate_limited(KeyIndex::new(0), None, 0)
                .until_us,
            SECOND
        );
    }

    #[test]
    fn a_target_with_a_refused_and_a_limited_key_waits_for_the_limit() {
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
