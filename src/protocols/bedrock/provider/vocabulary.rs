//! Constants that requests, responses and streams of Converse share.

/// Status of a model that failed (`ModelErrorException`).
pub(crate) const MODEL_FAILED: u16 = 424;
