//! `/metrics`: what the cores counted and what is read from shared state, in the Prometheus text format.

mod cache;
pub(crate) mod experiments;
pub(crate) mod page;
mod process;
mod semantic;
mod shared_metric;
