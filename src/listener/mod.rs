//! How bytes get to a core: acceptors, connections, graceful stop.

pub mod acceptor;
pub mod client;
pub mod connection;
pub mod drain;
pub mod upload;

pub use acceptor::{Accepted, Acceptor, CoreLoad};
pub use client::{Client, Company};
pub use connection::{ConnectionLimits, Request, Serve};
pub use drain::Drain;
