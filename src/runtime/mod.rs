//! The ground the engine stands on: core threads, sockets, TLS, timers, buffers.
//!
//! The only place that names monoio and rustls. It must not know what a request is.

pub mod blocking;
pub mod buffer;
pub mod clock;
pub mod core;
pub mod deadline;
pub mod heap;
pub mod io;
pub mod mailbox;
pub mod source;
pub mod spawn;
pub mod stream;
pub mod tls;

pub use io::{IoFault, Socket};
pub use stream::Stream;
