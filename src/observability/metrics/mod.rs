//! The numbers of one core, how the cores' numbers are merged, and their text form.

pub(crate) mod admission;
pub(crate) mod arms;
pub(crate) mod core_metrics;
pub(crate) mod cost;
pub mod histogram;
pub(crate) mod mirror;
pub(crate) mod prometheus;
