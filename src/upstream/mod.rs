//! Connections to providers: endpoints, credentials, the connection pool of a core, exchanges.
//!
//! It must not know protocols or the meaning of the bytes.

pub(crate) mod credentials;
pub(crate) mod endpoint;
pub(crate) mod exchange;
pub(crate) mod pool;
pub(crate) mod response_memory;
pub(crate) mod upload;
