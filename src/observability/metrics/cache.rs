//! Metrics of the cache that each core counts.

use crate::base::names::Name;
use crate::observability::metrics::counters::CounterBy;
use crate::observability::metrics::group::metric_group;
use crate::observability::metrics::labels::LabelEnum;

/// Where a response came from, as `x-ringside-cache` says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) enum CacheResult {
    /// There was no look-up.
    #[default]
    Bypass,
    Miss,
    Exact,
    Semantic,
    /// Another request's call in flight.
    Coalesced,
    /// An expired entry, because every target failed.
    Stale,
}

impl LabelEnum for CacheResult {
    const ALL: &'static [Self] = &[
        Self::Bypass,
        Self::Miss,
        Self::Exact,
        Self::Semantic,
        Self::Coalesced,
        Self::Stale,
    ];

    fn as_str(self) -> &'static str {
        match self {
            Self::Bypass => "bypass",
            Self::Miss => "miss",
            Self::Exact => "exact",
            Self::Semantic => "semantic",
            Self::Coalesced => "coalesced",
            Self::Stale => "stale",
        }
    }
}

metric_group! {
    /// Cache lookups
    pub(crate) struct CacheMetrics {
        /// Cache lookups, by outcome.
        ///
        /// Outcomes: `exact`, `semantic`, `coalesced`, `stale`, `miss`, `bypass`.
        lookups: CounterBy<CacheResult> = "ringside_cache_lookups_total" ["outcome"];
        /// Semantic lookups that were refused or failed, by reason.
        ///
        /// See [cache.md](cache.md).
        semantic_refusals: CounterBy<&'static str> = "ringside_cache_semantic_refusals_total" ["reason"];
        /// Responses not stored, by reason.
        ///
        /// See [cache.md](cache.md).
        not_stored: CounterBy<&'static str> = "ringside_cache_not_stored_total" ["reason"];
        /// Tokens that cache hits saved, by model.
        tokens_saved: CounterBy<Name> = "ringside_cache_tokens_saved_total" ["gen_ai_request_model"];
    }
}
