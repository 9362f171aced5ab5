//! The embedding vector and the fixed sizes of the model that makes it.
//!
//! It must not know how a model is run, or what a vector is compared for.

use std::sync::Arc;

/// Components of a vector.
pub const DIMENSIONS: usize = 384;

/// Most tokens that the model reads at once, `[CLS]` and `[SEP]` included.
pub(crate) const WINDOW_TOKENS: usize = 256;

/// Longest text that is tokenised, in bytes. Tokenising a text of this size takes 24 ms, about as long as
/// embedding a full window; such a text exceeds the window unless it is mostly blank.
pub(crate) const TEXT_BYTES_MAX: usize = 64 * 1024;

/// An embedding: [`DIMENSIONS`] components, L2-normalised, so that a dot product is a cosine.
pub type Vector = Arc<[f32]>;
