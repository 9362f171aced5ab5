//! The tiers that recovered entries go to.

use crate::cache::pending_removals::PendingRemovals;
use crate::cache::semantic::tier::SemanticTier;
use crate::cache::store::Store;
use std::sync::Arc;

/// The tiers that recovered entries go to.
pub(crate) struct CacheTiers {
    pub store: Arc<Store>,
    pub semantic: Option<Arc<SemanticTier>>,
    /// Shared with every entry, which adds its vector when it is dropped.
    pub pending_removals: Arc<PendingRemovals>,
}
