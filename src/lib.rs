//! Ringside, a self-hosted LLM gateway: the modules in the order of a request's journey.
//!
//!

pub mod config;
pub mod error;
pub mod http;
pub mod runtime;
pub mod api;
pub mod telemetry;
pub mod embedding;
pub mod admission;
pub mod routing;
pub mod providers;
pub mod accounting;
pub mod cache;
pub mod listener;
pub mod upstream;
pub mod relay;
