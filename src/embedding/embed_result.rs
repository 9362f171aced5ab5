//! The result of embedding a text: a vector, an error, or the rejection of the job.
//!
//! It must not know models, queues, threads.

use crate::embedding::vector::{Vector, WINDOW_TOKENS};

/// The embedding of one text.
#[derive(Debug, Clone)]
pub struct Embedded {
    /// The text's vector.
    pub vector: Vector,
    /// Tokens read, `[CLS]` and `[SEP]` included.
    pub tokens: usize,
}

/// Why a text has no embedding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EmbedError {
    /// The text has no token.
    Empty,
    /// The text is longer than the model's window; it is never cut.
    OverWindow {
        /// The text's tokens. Estimated at one per four bytes for a text of more than `TEXT_BYTES_MAX` bytes.
        tokens: usize,
    },
    /// The text has a character or word that the model's vocabulary cannot spell (an emoji, a rare
    /// script, a word of over 100 letters). The model reads all of these as the same `[UNK]`, so two
    /// different texts could have one vector.
    UnknownToken,
    /// The deadline had passed when a worker took the job.
    Deadline,
    /// The model or the tokenizer failed; the text is not the cause.
    Model(String),
}

impl std::fmt::Display for EmbedError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Empty => write!(f, "the text is empty"),
            Self::OverWindow { tokens } => {
                write!(
                    f,
                    "the text has {tokens} tokens, the model reads {WINDOW_TOKENS}"
                )
            }
            Self::UnknownToken => write!(f, "the text has a word outside the model's vocabulary"),
            Self::Deadline => write!(f, "the deadline passed in the queue"),
            Self::Model(reason) => write!(f, "the embedding model failed: {reason}"),
        }
    }
}

impl std::error::Error for EmbedError {}

/// Why the pool did not take a job. The job's callback is dropped without being called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EmbedRejection {
    /// The queue is full.
    QueueFull,
    /// The model is still loading, or could not be loaded.
    NotReady,
}

impl EmbedRejection {
    /// The reason in a word, for headers and labels.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::QueueFull => "queue-full",
            Self::NotReady => "model-not-ready",
        }
    }
}
