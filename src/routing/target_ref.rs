//! A target of a model as routing refers to it.

use crate::routing::indices::TargetSlot;
use crate::routing::limiter::Bounds;

/// A target of a model, as configured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TargetRef {
    /// Its slot in the target table of each core.
    pub slot: TargetSlot,
    /// Hash that identifies it in all cores and processes.
    pub identity: u64,
    /// Lower is tried first.
    pub priority: u32,
    /// Relative share.
    pub weight: u32,
    /// Number of its API keys.
    pub keys: usize,
    /// Bounds of the requests in flight over all cores; `None` = no limit.
    pub bounds: Option<Bounds>,
}
