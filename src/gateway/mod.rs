//! One request, start to end. Start with [`pipeline`].

pub(crate) mod attempt;
pub(crate) mod caching;
pub(crate) mod caller;
pub(crate) mod context;
pub(crate) mod core;
pub(crate) mod endpoints;
pub(crate) mod experiments;
pub mod explain;
mod local_pages;
pub(crate) mod pipeline;
pub(crate) mod plan;
pub(crate) mod respond;
pub(crate) mod snapshot;
pub(crate) mod streaming;
pub mod transform;
pub(crate) mod usage_metrics;
