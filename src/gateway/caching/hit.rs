//! A cache hit: the entry, and how a semantic hit was scored.

use crate::cache::entry::Entry;
use std::sync::Arc;

/// The scores of a semantic hit, each from 0 to 1.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SemanticScores {
    /// Cosine similarity of the two questions.
    pub similarity: f32,
    /// Probability that the stored answer is right.
    pub confidence: f32,
    /// The verifier's score.
    pub score: f32,
}

/// An entry that is served.
pub(crate) struct Hit {
    pub entry: Arc<Entry>,
    /// `None` for a hit of the same request.
    pub scores: Option<SemanticScores>,
}

/// The reason for a semantic hit, as `x-ringside-cache-reason` gives it.
pub(crate) fn semantic_reason(similarity: f32, confidence: f32) -> String {
    format!("similarity={similarity:.4} confidence={confidence:.4}")
}
