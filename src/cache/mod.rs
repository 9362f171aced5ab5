//! Two tiers over one store: exact (same request) and semantic (same scope, same question in other words).
//!
//! It must not know sockets or HTTP. A look-up that cannot be decided in time is a miss.

pub mod answer;
mod collect;
pub mod controls;
pub mod disk;
pub mod entry;
pub mod flight;
pub mod flights;
pub mod freshness;
pub mod learning;
pub mod quality;
pub mod refuted;
pub mod replay;
pub mod semantic;
mod shard;
pub mod statistics;
pub mod store;
pub mod verify;

pub use answer::Answer;
pub use collect::Collector;
pub use controls::Controls;
pub use entry::{Entry, Key};
pub use flights::Flights;
pub use semantic::Semantic;
pub use store::Store;
