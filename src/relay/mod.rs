//! The answer on its way back, as pure transformation: bytes from upstream in, bytes for the client out.
//!
//! No sockets here; `journey` moves the bytes.

pub mod probe;
pub mod stream;

pub use stream::StreamRelay;
