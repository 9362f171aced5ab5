//! The metrics that each core counts: declarations by area, and the types that they are made of.

pub(crate) mod admission;
pub(crate) mod arms;
pub(crate) mod cache;
pub(crate) mod core_metrics;
pub(crate) mod cost;
pub(crate) mod counters;
pub(crate) mod declaration;
pub(crate) mod gauges;
pub(crate) mod group;
pub(crate) mod hedging;
pub mod histogram;
pub(crate) mod histograms;
pub(crate) mod labels;
pub(crate) mod mirror;
pub(crate) mod process;
pub(crate) mod prometheus;
pub(crate) mod requests;
pub(crate) mod targets;
pub(crate) mod upstream;
pub(crate) mod usage;
pub(crate) mod value;
