//! How long a response may be taken for true.

pub mod classify;
pub(crate) mod cues;
pub(crate) mod moving;
pub(crate) mod terms;
