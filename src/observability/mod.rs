//! What is measured and recorded: counters and histograms of a core, access records, request ids.
//!
//! Stations import only the types; `journey` feeds them. Each core owns its numbers and writes no
//! shared memory; the control plane asks for a copy.

pub(crate) mod access_log;
pub(crate) mod log_line;
pub mod metrics;
pub(crate) mod rateable_requests;
