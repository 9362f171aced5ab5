//! The last word on a candidate: may this stored answer be served for that question?
//!
//! Today the rule is a cosine threshold. Whatever else is to judge a candidate (numbers, negation,
//! a learned score) judges it here, and nothing before or after it changes.

use super::entry::Entry;

/// What a look-up by meaning found.
pub struct Candidate<'e> {
    /// The stored entry.
    pub entry: &'e Entry,
    /// The question asked now.
    pub question: &'e str,
    /// Cosine similarity of the two questions.
    pub similarity: f32,
}

/// The verdict on a candidate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Serve it.
    Serve,
    /// Do not; the rule that refused.
    Refuse(&'static str),
}

/// Judges a candidate against the smallest similarity allowed.
#[must_use]
pub fn judge(candidate: &Candidate<'_>, similarity_min: f32) -> Verdict {
    if candidate.similarity >= similarity_min {
        Verdict::Serve
    } else {
        Verdict::Refuse("similarity")
    }
}
