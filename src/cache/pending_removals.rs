//! Vectors whose entries no longer exist, to be removed from their indexes.
//!
//! It must not know why an entry was dropped.

use parking_lot::Mutex;

/// Vectors of evicted, replaced, deleted and expired entries. `Entry` adds its vector when it is dropped, whatever
/// the reason; the next thread that works on the indexes removes them.
#[derive(Default)]
pub struct PendingRemovals(Mutex<Vec<PendingRemoval>>);

/// A vector to be removed from the index of a scope.
pub(crate) struct PendingRemoval {
    /// Hash of the scope.
    pub scope: u128,
    /// Id of the vector.
    pub vector: u64,
}

impl PendingRemovals {
    pub(crate) fn push(&self, removal: PendingRemoval) {
        self.0.lock().push(removal);
    }

    pub(crate) fn take(&self) -> Vec<PendingRemoval> {
        std::mem::take(&mut self.0.lock())
    }
}
