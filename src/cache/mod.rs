//! Two tiers over one store: exact (same request) and semantic (same scope, same question in other words).
//!
//! It must not know sockets or HTTP. A look-up that cannot be decided in time is a miss.

pub(crate) mod coalesce;
pub(crate) mod controls;
pub(crate) mod disk;
pub mod entry;
pub(crate) mod feedback;
pub mod freshness;
pub(crate) mod quality;
pub mod response;
pub mod semantic;
pub(crate) mod shard;
pub mod store;
pub mod verify;
pub(crate) mod wrong_answers;
