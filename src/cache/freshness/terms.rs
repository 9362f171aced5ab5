//! How long a response of a freshness class is stored, and whether the semantic tier may serve it.

use crate::cache::freshness::classify::Freshness;
use crate::config::sections::cache::Freshness as Config;
use std::time::Duration;

/// The terms of a class.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// Longest time to live; zero = not stored.
    pub ttl: Duration,
    /// Whether the semantic tier may look up and serve responses of this class.
    pub allows_semantic: bool,
}

impl Freshness {
    /// The terms of this class; `ttl` is the configured time to live of all responses.
    #[must_use]
    pub fn terms(self, config: &Config, ttl: Duration) -> Terms {
        let (own, allows_semantic) = match self {
            _ if !config.enabled => (ttl, true),
            Self::Static => (ttl, true),
            Self::Slow => (config.slow_ttl, config.slow_semantic),
            Self::Live => (config.live_ttl, false),
            Self::Personal => (config.personal_ttl, false),
        };
        Terms {
            ttl: own.min(ttl),
            allows_semantic,
        }
    }
}
