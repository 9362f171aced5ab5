//! The validated configuration.

pub(crate) mod auth;
pub(crate) mod cache;
pub mod config;
