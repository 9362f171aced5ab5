//! What is measured and recorded: metrics, access records, log lines, and requests that may be rated.
//!
//! The gateway records; this folder must not know the phases of a request. Each core owns its metrics and writes no shared
//! memory; the control plane gets a copy.

pub(crate) mod access_log;
pub(crate) mod log_line;
pub mod metrics;
pub mod output;
pub(crate) mod rateable_requests;
