//! How a request proves who sends it, as pure functions: time and credentials are handed in.
//!
//! No sockets, no clock, no randomness. It must not know any provider's dialect.

pub mod sigv4;
#[cfg(test)]
mod sigv4_tests;
