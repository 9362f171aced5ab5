//! Constants that requests, responses and streams of Converse share.

/// The status of a model error (`ModelErrorException`).
pub(crate) const MODEL_FAILED: u16 = 424;
