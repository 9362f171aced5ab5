//! Ringside, a self-hosted LLM gateway that runs beside a latency-sensitive service.
//!
//! Start with [`gateway::pipeline`]: it handles one request from parse to access log.

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
