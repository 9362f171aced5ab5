//! The last word on a candidate: may this stored answer be served for that question?
//!
//! Hard rules first: another number, a negation, an opposite, another direction, and so on, are another
//! question however near the embeddings are. Then a learned score against the least one allowed, which
//! comes from the rate of wrong hits that the operator accepts.

use crate::cache::entry::Entry;
use crate::cache::verify::features::compare;
use crate::cache::verify::model::Verifier;
use crate::cache::verify::words::Words;
use crate::embedding::static_index::StaticCode;
use crate::embedding::table::StaticTable;
use std::sync::Arc;
use std::time::Duration;

/// Below this cosine the verifier was given no pair to learn from.
pub const SIMILARITY_FLOOR: f32 = 0.6;

/// A question asked now, read for comparing.
pub struct Query {
    words: Words,
    table: Arc<StaticTable>,
}

/// What a candidate must reach.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Thresholds {
    /// How long past its time its answer may be; zero = not at all.
    pub stale_for: Duration,
    /// Least score; `None` when plain similarity decides.
    pub score_min: Option<f32>,
    /// Least cosine similarity.
    pub similarity_min: f32,
    /// Static cosine below which nothing is looked for; `None` = always look.
    pub static_floor: Option<f32>,
}

impl Thresholds {
    /// The same, with at least this score.
    #[must_use]
    pub fn raised_to(mut self, score_min: Option<f32>) -> Self {
        self.score_min = match (self.score_min, score_min) {
            (Some(own), Some(raised)) => Some(own.max(raised)),
            (own, raised) => own.or(raised),
        };
        self
    }
}

/// The verdict on a candidate.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum MatchVerdict {
    /// Serve it.
    Serve {
        /// Probability that the answer is right, by the shipped calibration.
        confidence: f32,
        /// The score.
        score: f32,
    },
    /// Do not; the rule that refused.
    Refuse(&'static str),
}

impl Query {
    /// Reads `question`. `None` when it has no word, or too many.
    #[must_use]
    pub fn read(question: &str, table: &Arc<StaticTable>) -> Option<Self> {
        Some(Self {
            words: Words::read(question, table)?,
            table: Arc::clone(table),
        })
    }

    /// Its static vector, as the scan takes it.
    #[must_use]
    pub fn code(&self) -> Option<StaticCode> {
        StaticCode::new(&self.words.vector)
    }

    /// Judges `entry`, whose question has this cosine similarity to the one asked.
    #[must_use]
    pub fn judge(&self, entry: &Entry, similarity: f32, bar: &Thresholds) -> MatchVerdict {
        if similarity < bar.similarity_min {
            return MatchVerdict::Refuse("similarity");
        }
        let Ok(verifier) = Verifier::shipped() else {
            return MatchVerdict::Refuse("verifier-missing");
        };
        let Some(stored) = Words::read(entry.question(), &self.table) else {
            return MatchVerdict::Refuse("too-many-words");
        };
        let features = match compare(&self.words, &stored, similarity, &self.table) {
            Ok(features) => features,
            Err(rule) => return MatchVerdict::Refuse(rule),
        };
        let score = verifier.score(&features);
        if bar.score_min.is_some_and(|least| score < least) {
            return MatchVerdict::Refuse("confidence");
        }
        MatchVerdict::Serve {
            confidence: verifier.confidence(score),
            score,
        }
    }
}
