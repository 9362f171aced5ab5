//! A target of a model, as routing refers to it. It must not know how the target is reached.

use crate::routing::indices::TargetSlot;
use crate::routing::limiter::Bounds;

/// A target of a model, as configured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TargetRef {
    /// The same in the target table of every core.
    pub slot: TargetSlot,
    /// Hash of its name: the same in all cores and processes.
    pub identity: u64,
    /// Lower is tried first.
    pub priority: u32,
    /// Relative share.
    pub weight: u32,
    /// Number of its provider's API keys.
    pub keys: usize,
    /// Bounds of its concurrency limit, over all cores; `None` = no limit.
    pub bounds: Option<Bounds>,
}
