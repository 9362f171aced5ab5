//! The basis of the engine: core threads, sockets, TLS, timers, buffers.
//!
//! The only folder that names monoio and rustls. It must not know what a request is.

pub(crate) mod blocking;
pub(crate) mod buffer;
pub mod clock;
pub mod core;
pub(crate) mod date;
pub(crate) mod deadline;
pub(crate) mod descriptors;
pub(crate) mod heap;
pub mod io;
pub mod mailbox;
pub(crate) mod reader;
pub(crate) mod source;
pub mod spawn;
pub mod stream;
pub mod tls;
mod tls_fault;
pub(crate) mod turn;
