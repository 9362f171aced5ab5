//! The latest deletions, so that a response whose request began before a deletion is not stored behind it.
//!
//! It must not know who deletes or why.

use crate::cache::disk::deletion::Deletion;
use crate::cache::entry::Entry;
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};

/// Deletions that are remembered. A response whose request began before an older one is not stored, whether that
/// deletion covers it or not.
pub(crate) const RECENT_DELETIONS_MAX: usize = 64;

/// How many deletions there were when a request began.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DeletionCount(u64);

impl DeletionCount {
    /// The number.
    #[must_use]
    pub(crate) fn get(self) -> u64 {
        self.0
    }
}

/// The latest deletions, the oldest first.
#[derive(Default)]
pub(crate) struct RecentDeletions {
    /// All deletions so far. It is read without the lock, because there is seldom a new one.
    count: AtomicU64,
    latest: Mutex<VecDeque<Deletion>>,
}

impl RecentDeletions {
    #[must_use]
    pub(crate) fn count(&self) -> DeletionCount {
        DeletionCount(self.count.load(Ordering::Acquire))
    }

    /// Remembers a deletion. Called before its entries are removed: an entry that is stored meanwhile either is refused,
    /// or is there to be removed.
    pub(crate) fn push(&self, deletion: Deletion) {
        let mut latest = self.latest.lock();
        if latest.len() == RECENT_DELETIONS_MAX {
            latest.pop_front();
        }
        latest.push_back(deletion);
        self.count.fetch_add(1, Ordering::Release);
    }

    /// Whether a deletion after `since` covers the entry, as far as is known.
    #[must_use]
    pub(crate) fn cover(&self, entry: &Entry, since: DeletionCount) -> bool {
        if self.count() == since {
            return false;
        }
        let latest = self.latest.lock();
        let later = usize::try_from(self.count().0.saturating_sub(since.0));
        match later {
            Ok(later) if later <= latest.len() => {
                let mut later = latest.iter().rev().take(later);
                later.any(|deletion| deletion.covers(entry))
            }
            _ => true,
        }
    }
}
