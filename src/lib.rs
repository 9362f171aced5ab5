//! Ringside, a self-hosted LLM gateway: the modules in the order of a request's journey.
//!
//! Start with [`journey`]: it is the trip of one request as one readable function.

// The journey.
pub mod journey;

// A tool.
pub mod tune;

#[rustfmt::skip]
pub mod listener;
pub mod accounting;
pub mod admission;
pub mod api;
pub mod cache;
pub mod http;
pub mod providers;
pub mod relay;
pub mod routing;
pub mod signing;
pub mod telemetry;
pub mod upstream;

// The ground.
pub mod config;
pub mod embedding;
pub mod error;
pub mod runtime;

// The other plane.
pub mod control;

// Beside the way.
pub mod import;
