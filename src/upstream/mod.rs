//! Sockets to providers: endpoints, the pool of a core, one exchange.
//!
//! It must not know dialects or what the bytes mean.

pub(crate) mod credentials;
pub(crate) mod endpoint;
pub(crate) mod exchange;
pub(crate) mod pool;
pub(crate) mod upload;
