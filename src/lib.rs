//! Ringside, a self-hosted LLM gateway: the modules in the order of a request's journey.
//!
//! Start with [`journey`]: it is the trip of one request as one readable function.

pub(crate) mod accounting;
pub(crate) mod admin;
pub mod app;
pub mod auth;
pub mod base;
pub mod cache;
pub mod cli;
pub mod config;
pub mod control;
pub mod embedding;
pub mod error;
pub mod gateway;
pub(crate) mod headers;
pub mod http;
pub mod observability;
pub mod protocols;
pub mod routing;
pub mod runtime;
pub mod server;
pub mod signing;
pub(crate) mod upstream;
