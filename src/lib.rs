//! Ringside, a self-hosted LLM gateway that runs beside a latency-sensitive service.
//!
//! Start with [`gateway::pipeline`]: it handles one request from parse to access log.

// A byte from the network must not end a task: what cannot be is `debug_assert!`, what can be is an error.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::unreachable
    )
)]

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
