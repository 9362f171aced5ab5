//! Why the semantic tier serves, indexes or marks nothing: one enum, whose words are header values and
//! metric labels.

use crate::cache::freshness::classify::Freshness;
use crate::cache::verify::verify::Rejection;
use crate::embedding::embed_result::{EmbedError, EmbedRejection};
use crate::protocols::request::canonical_request::NotSemantic;

/// Why the semantic tier does not serve a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SemanticMiss {
    /// The request has a form that the tier does not handle.
    Request(NotSemantic),
    /// Responses to questions of this class are not served by the tier.
    Freshness(Freshness),
    /// Mode `observe`: the result is counted and not served.
    Observed,
    /// The question is longer than the model's window.
    OverWindow,
    /// The model is loading, or cannot be loaded.
    ModelNotReady,
    /// The queue of the embedding pool is full.
    QueueFull,
    /// No entry of this scope is indexed.
    ScopeEmpty,
    /// The question has no word, or too many.
    TooManyWords,
    /// The static vectors show that no stored question is similar enough.
    NothingNear,
    /// The question has no token.
    EmptyQuestion,
    /// The question has a word outside the model's vocabulary.
    UnknownToken,
    /// The look-up did not end in time.
    Deadline,
    /// The model failed.
    ModelFailed,
    /// The nearest entry was rejected.
    Rejected(Rejection),
    /// An answer to a similar question was marked wrong, and the score is below what is needed since.
    MarkedWrong,
}

impl SemanticMiss {
    /// Value in `x-ringside-cache-reason` and in metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Request(reason) => reason.as_str(),
            Self::Freshness(class) => class.as_str(),
            Self::Observed => "observed",
            Self::OverWindow => "over-window",
            Self::ModelNotReady => "model-not-ready",
            Self::QueueFull => "queue-full",
            Self::ScopeEmpty => "scope-empty",
            Self::TooManyWords => "too-many-words",
            Self::NothingNear => "nothing-near",
            Self::EmptyQuestion => "empty",
            Self::UnknownToken => "unknown-token",
            Self::Deadline => "deadline",
            Self::ModelFailed => "model-failed",
            Self::Rejected(rejection) => rejection.as_str(),
            Self::MarkedWrong => "marked-wrong",
        }
    }
}

impl From<EmbedRejection> for SemanticMiss {
    fn from(rejection: EmbedRejection) -> Self {
        match rejection {
            EmbedRejection::QueueFull => Self::QueueFull,
            EmbedRejection::NotReady => Self::ModelNotReady,
        }
    }
}

impl From<EmbedError> for SemanticMiss {
    fn from(error: EmbedError) -> Self {
        match error {
            EmbedError::Empty => Self::EmptyQuestion,
            EmbedError::OverWindow { .. } => Self::OverWindow,
            EmbedError::UnknownToken => Self::UnknownToken,
            EmbedError::Deadline => Self::Deadline,
            EmbedError::Model(_) => Self::ModelFailed,
        }
    }
}
