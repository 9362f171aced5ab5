//! Classifies how long a response stays true.

pub mod classify;
pub(crate) mod cues;
pub(crate) mod terms;
pub(crate) mod time_dependence;
