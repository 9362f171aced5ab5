//! What a class of freshness is allowed: how long an answer is kept, and whether it is served by meaning.

use crate::cache::freshness::classify::Freshness;
use crate::config::sections::cache::Freshness as Config;
use std::time::Duration;

/// The terms of a class.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// Longest time to live; zero = not stored.
    pub ttl: Duration,
    /// Whether the semantic tier may look it up and serve it.
    pub by_meaning: bool,
}

impl Freshness {
    /// The terms of this class; `ttl` is that of all answers.
    #[must_use]
    pub fn terms(self, config: &Config, ttl: Duration) -> Terms {
        let (own, by_meaning) = match self {
            _ if !config.enabled => (ttl, true),
            Self::Static => (ttl, true),
            Self::Slow => (config.slow_ttl, config.slow_semantic),
            Self::Live => (config.live_ttl, false),
            Self::Personal => (config.personal_ttl, false),
        };
        Terms {
            ttl: own.min(ttl),
            by_meaning,
        }
    }
}
