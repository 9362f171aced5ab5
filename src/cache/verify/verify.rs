//! Decides whether a stored response may be served for a question.
//!
//! Hard rules first: another number, a negation, an opposite, another direction, and so on, make another
//! question, however similar the embeddings are. Then a learned score must reach a threshold, which comes
//! from the rate of wrong hits that the operator accepts. It must not know entries or scopes.

use crate::cache::verify::features::compare;
use crate::cache::verify::model::Verifier;
use crate::cache::verify::rules::HardRule;
use crate::cache::verify::words::Words;
use crate::embedding::static_index::StaticCode;
use crate::embedding::table::StaticTable;
use std::sync::Arc;
use std::time::Duration;

/// The verifier was trained on no pair with a cosine below this.
pub(crate) const SIMILARITY_FLOOR: f32 = 0.6;

/// The question of a request, read for comparing.
pub struct Query {
    words: Words,
    table: Arc<StaticTable>,
}

/// What a candidate must reach.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Thresholds {
    /// How long ago its time to live may have passed; zero = it must be live.
    pub stale_for: Duration,
    /// Least score; `None` when the similarity alone decides.
    pub score_min: Option<f32>,
    /// Least cosine similarity.
    pub similarity_min: f32,
    /// Static cosine that some stored question must reach for the model to run; `None` = the model always
    /// runs.
    pub static_floor: Option<f32>,
}

impl Thresholds {
    /// The same thresholds, with at least this score.
    #[must_use]
    pub(crate) fn raised_to(mut self, score_min: Option<f32>) -> Self {
        self.score_min = match (self.score_min, score_min) {
            (Some(own), Some(raised)) => Some(own.max(raised)),
            (own, raised) => own.or(raised),
        };
        self
    }
}

/// A candidate that may be served.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Match {
    /// Probability that the answer is right, by the shipped calibration.
    pub confidence: f32,
    /// The verifier's score.
    pub score: f32,
}

/// Why a candidate is rejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rejection {
    /// The cosine similarity is below the least one.
    Similarity,
    /// The verifier of this program cannot be read.
    VerifierMissing,
    /// The stored question has no word, or too many.
    TooManyWords,
    /// The two questions differ in a way that a hard rule forbids.
    Rule(HardRule),
    /// The score is below the least one.
    Confidence,
}

impl Rejection {
    /// Value in `x-ringside-cache-reason` and in metrics.
    #[must_use]
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Similarity => "similarity",
            Self::VerifierMissing => "verifier-missing",
            Self::TooManyWords => "too-many-words",
            Self::Rule(rule) => rule.as_str(),
            Self::Confidence => "confidence",
        }
    }
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

    /// Its quantised static vector; `None` when the question has no piece in the static table.
    #[must_use]
    pub fn code(&self) -> Option<StaticCode> {
        StaticCode::new(&self.words.vector)
    }

    /// Judges a stored question whose cosine to this one is `similarity`.
    ///
    /// # Errors
    /// Why its response must not be served.
    pub(crate) fn judge(
        &self,
        stored_question: &str,
        similarity: f32,
        thresholds: &Thresholds,
    ) -> Result<Match, Rejection> {
        if similarity < thresholds.similarity_min {
            return Err(Rejection::Similarity);
        }
        let verifier = Verifier::shipped().map_err(|_| Rejection::VerifierMissing)?;
        let stored = Words::read(stored_question, &self.table).ok_or(Rejection::TooManyWords)?;
        let features =
            compare(&self.words, &stored, similarity, &self.table).map_err(Rejection::Rule)?;
        let score = verifier.score(&features);
        if thresholds
            .score_min
            .is_some_and(|score_min| score < score_min)
        {
            return Err(Rejection::Confidence);
        }
        Ok(Match {
            confidence: verifier.confidence(score),
            score,
        })
    }
}
