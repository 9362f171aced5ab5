//! What is measured and recorded: counters and histograms of a core, access records, request ids.
//!
//! Stations import only the types; `journey` feeds them. Each core owns its numbers and writes no
//! shared memory; the control plane asks for a copy.

pub mod access;
pub mod admission;
pub mod arms;
pub mod histogram;
pub mod ids;
pub mod metrics;
pub mod money;
pub mod names;
pub mod notice;
pub mod prometheus;
pub mod ratings;
pub mod shadows;

pub use names::Name;
