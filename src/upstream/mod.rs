//! Connections to providers: endpoints, credentials, the pool of a core, one exchange.
//!
//! It must not know protocols or what the bytes mean.

pub(crate) mod credentials;
pub(crate) mod endpoint;
pub(crate) mod exchange;
pub(crate) mod pool;
pub(crate) mod upload;
