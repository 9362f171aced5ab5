//! How a request proves who sends it.

pub(crate) mod auth;
pub mod sigv4;
#[cfg(test)]
mod sigv4_tests;
