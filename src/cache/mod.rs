//! Two tiers over one store: exact (the same request) and semantic (the same scope, a question with the same
//! meaning).
//!
//! It must not know sockets or HTTP. A look-up that cannot be decided in time is a miss.

pub(crate) mod coalesce;
pub(crate) mod controls;
pub(crate) mod disk;
pub mod entry;
pub mod freshness;
pub mod key;
pub mod pending_removals;
pub(crate) mod persistence;
pub(crate) mod quality;
pub mod recent_deletions;
pub mod response;
pub mod semantic;
pub(crate) mod shard;
pub mod store;
pub mod verify;
