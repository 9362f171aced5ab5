//! Two tiers over one store: exact (same request) and semantic (same scope, same question in other words).
//!
//! It must not know sockets or HTTP. A look-up that cannot be decided in time is a miss.

pub mod answer;
pub(crate) mod collect;
pub(crate) mod controls;
pub(crate) mod disk;
pub mod entry;
pub(crate) mod flight;
pub(crate) mod flights;
pub mod freshness;
pub(crate) mod learning;
pub(crate) mod quality;
pub(crate) mod refuted;
pub(crate) mod replay;
pub mod semantic;
pub(crate) mod shard;
pub mod store;
pub mod verify;
