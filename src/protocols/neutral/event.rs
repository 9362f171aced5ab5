//! The events of a stream. Parts are numbered over the whole stream, in the order in which they begin.

use crate::protocols::neutral::response::{ProviderError, Stop};
use crate::protocols::usage::Usage;

/// One event of a stream.
#[derive(Debug, Clone, PartialEq)]
pub enum Event<'e> {
    /// The response begins.
    Start(Start<'e>),
    /// A part begins.
    PartStart {
        /// The number of the part.
        part: usize,
        /// The choice that the part belongs to.
        choice: u64,
        /// The kind of the part.
        kind: Kind<'e>,
    },
    /// A part continues.
    Delta {
        /// The number of the part.
        part: usize,
        /// The new content.
        delta: Delta<'e>,
    },
    /// A part is complete; emitted once. Deltas of a tool call may still follow if a provider interleaves several
    /// calls.
    PartEnd {
        /// The number of the part.
        part: usize,
    },
    /// Token probabilities of one choice, raw, in OpenAI's form.
    Logprobs {
        /// The choice.
        choice: u64,
        /// The probabilities.
        raw: &'e str,
    },
    /// A choice is complete.
    Stop {
        /// The choice.
        choice: u64,
        /// The stop reason.
        reason: Stop,
        /// The stop sequence that was generated.
        sequence: Option<&'e str>,
    },
    /// Token counts so far: an event replaces the counts of the previous one.
    Usage(Usage),
    /// The provider keeps the connection alive.
    Heartbeat,
    /// The provider reported an error; nothing follows.
    Error(ProviderError<'e>),
    /// The stream is complete; nothing follows.
    End,
}

/// The first values of a response.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Start<'e> {
    /// The provider's id of the response.
    pub id: &'e str,
    /// The model's name as the provider reports it.
    pub model: &'e str,
    /// The provider's time stamp, in seconds since the Unix epoch.
    pub created: Option<u64>,
    /// Token counts of the prompt, if the provider reports them first.
    pub usage: Option<Usage>,
}

/// Longest id and longest model name of a provider, in bytes: most formats repeat them in each event of a stream.
const NAME_BYTES_MAX: usize = 512;

impl Start<'_> {
    /// Without an id or a model name that is too long to be repeated. The gateway has its own for both.
    #[must_use]
    pub fn bounded(self) -> Self {
        let fits = |name: &str| name.len() <= NAME_BYTES_MAX;
        Self {
            id: if fits(self.id) { self.id } else { "" },
            model: if fits(self.model) { self.model } else { "" },
            ..self
        }
    }
}

/// The kind of a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind<'e> {
    /// Text.
    Text,
    /// A refusal, as text.
    Refusal,
    /// Thinking.
    Thinking,
    /// An encrypted thought, whole.
    Redacted {
        /// The encrypted thought.
        data: &'e str,
    },
    /// A call of a tool.
    ToolCall {
        /// The id of the call.
        id: &'e str,
        /// The name of the tool.
        name: &'e str,
    },
    /// A kind that only the provider's own API has.
    Other,
}

/// New content of a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delta<'e> {
    /// Text of an answer or a thought.
    Text(&'e str),
    /// A piece of a tool call's arguments, as JSON text.
    Arguments(&'e str),
    /// The signature of a thought.
    Signature(&'e str),
    /// A citation, raw.
    Citation(&'e str),
}
