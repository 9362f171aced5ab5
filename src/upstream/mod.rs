//! Sockets to providers: endpoints, the pool of a core, one exchange.
//!
//! It must not know dialects or what the bytes mean.

pub mod credentials;
pub mod endpoint;
pub mod exchange;
pub mod pool;
pub mod upload;

pub use credentials::Credentials;
pub use endpoint::Endpoint;
pub use exchange::{Reply, UpstreamFault, exchange};
pub use pool::Pool;
pub use upload::{UploadFault, upload};
