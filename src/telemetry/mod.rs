//! What is measured and recorded: counters and histograms of a core, access records, request ids.
//!
//! Stations import only the types; `journey` feeds them. Each core owns its numbers and writes no
//! shared memory; the control plane asks for a copy.

pub(crate) mod access;
pub(crate) mod admission;
pub(crate) mod arms;
pub mod histogram;
pub(crate) mod metrics;
pub(crate) mod money;
pub(crate) mod notice;
pub(crate) mod prometheus;
pub(crate) mod ratings;
pub(crate) mod shadows;
