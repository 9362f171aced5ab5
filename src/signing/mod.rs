//! Credentials of requests to providers: API keys, tokens and AWS signatures. It must not know any dialect.

pub(crate) mod auth;
pub mod sigv4;
#[cfg(test)]
mod sigv4_tests;
