//! The routing policies, one file each, and their registry.

pub(crate) mod cheapest;
pub(crate) mod least_latency;
pub(crate) mod least_outstanding;
pub(crate) mod priority;
pub mod registry;
pub(crate) mod round_robin;
pub(crate) mod sticky;
pub(crate) mod throughput;
pub(crate) mod weighted;
