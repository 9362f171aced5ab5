//! Measures how often a semantic hit is wrong, on the operator's own traffic.

pub(crate) mod compare;
pub(crate) mod compare_responses;
pub(crate) mod error_rate;
pub(crate) mod log;
pub(crate) mod sample_budget;
