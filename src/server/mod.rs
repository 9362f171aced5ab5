//! Client connections: acceptors, connections, graceful stop.

pub mod acceptor;
pub(crate) mod body;
pub mod body_memory;
pub mod client;
pub mod connection;
pub(crate) mod connection_end;
pub mod connection_limits;
pub mod drain;
pub(crate) mod input;
pub(crate) mod request_body;
