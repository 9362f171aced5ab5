//! What the cache did for a request.

use crate::observability::metrics::cache::CacheResult;
use std::borrow::Cow;
use std::time::Duration;

/// The entry that was served.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ServedEntry {
    pub id: u128,
    pub age: Duration,
}

/// Result of the look-ups, with its reason for a header.
#[derive(Default)]
pub(crate) struct CacheOutcome {
    result: CacheResult,
    reason: Option<Cow<'static, str>>,
    entry: Option<ServedEntry>,
}

impl CacheOutcome {
    #[must_use]
    pub(crate) fn result(&self) -> CacheResult {
        self.result
    }

    /// `None` when the request was answered before the cache was reached.
    #[must_use]
    pub(crate) fn reason(&self) -> Option<&str> {
        self.reason.as_deref()
    }

    #[must_use]
    pub(crate) fn entry(&self) -> Option<ServedEntry> {
        self.entry
    }

    /// There is no look-up.
    pub(crate) fn bypassed(&mut self, reason: &'static str) {
        self.reason = Some(reason.into());
    }

    /// A look-up begins: a miss until an entry is found. An earlier, more precise reason stays.
    pub(crate) fn missed(&mut self, reason: &'static str) {
        self.result = CacheResult::Miss;
        self.reason.get_or_insert(reason.into());
    }

    /// A rule forbids a semantic hit.
    pub(crate) fn refused(&mut self, rule: &'static str) {
        self.reason = Some(rule.into());
    }

    /// An entry is served.
    pub(crate) fn hit(
        &mut self,
        result: CacheResult,
        reason: impl Into<Cow<'static, str>>,
        entry: ServedEntry,
    ) {
        self.result = result;
        self.reason = Some(reason.into());
        self.entry = Some(entry);
    }

    /// Another request's call in flight serves this one too.
    pub(crate) fn coalesced(&mut self) {
        self.result = CacheResult::Coalesced;
        self.reason = Some("same request in flight".into());
    }
}
