//! The reasons why a response is not stored. It must not know the store.

use crate::cache::freshness::classify::Freshness;

/// Why a response is not stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotStored {
    /// The provider reported an error.
    Error,
    /// Its body is not JSON.
    Unparsable,
    /// Valid JSON that is not a chat completion.
    NotAResponse,
    /// The stream ended without a finish reason.
    Incomplete,
    /// It has no text.
    Empty,
    /// It has more than one choice.
    SeveralChoices,
    /// It calls tools.
    ToolCalls,
    /// The model refused to respond.
    Refusal,
    /// It was cut off at the length limit.
    FinishLength,
    /// It was cut off by the provider's content filter.
    FinishContentFilter,
    /// It has another finish reason than `stop`.
    FinishOther,
    /// It has parts that the stored form cannot hold, e.g. log probabilities.
    Unrepresentable,
    /// Larger than `cache.entry_bytes_max`, or its id, model and fingerprint are longer than 2048 bytes.
    TooLarge,
    /// The store could not make room for it.
    NoRoom,
    /// A deletion that covers it came after its request.
    Deleted,
    /// Responses to questions of this class are not stored.
    NotLasting(Freshness),
}

impl NotStored {
    /// Label value in metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Unparsable => "unparsable",
            Self::NotAResponse => "not-an-answer",
            Self::Incomplete => "incomplete",
            Self::Empty => "empty",
            Self::SeveralChoices => "several-choices",
            Self::ToolCalls => "tool-calls",
            Self::Refusal => "refusal",
            Self::FinishLength => "finish-length",
            Self::FinishContentFilter => "finish-content-filter",
            Self::FinishOther => "finish-other",
            Self::Unrepresentable => "unrepresentable",
            Self::TooLarge => "too-large",
            Self::NoRoom => "no-room",
            Self::Deleted => "deleted",
            Self::NotLasting(class) => class.as_str(),
        }
    }
}

impl std::fmt::Display for NotStored {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::error::Error for NotStored {}
