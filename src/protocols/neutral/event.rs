//! What happens in a stream. Parts are numbered over the whole stream, in the order they begin.

use crate::protocols::neutral::response::{ProviderError, Stop};
use crate::protocols::usage::Usage;

/// One thing that happens in a stream.
#[derive(Debug, Clone, PartialEq)]
pub enum Event<'e> {
    /// The answer begins.
    Start(Start<'e>),
    /// A part begins.
    PartStart {
        /// Its number.
        part: usize,
        /// Which of several answers it belongs to.
        choice: u64,
        /// What it is.
        kind: Kind<'e>,
    },
    /// More of a part.
    Delta {
        /// Its number.
        part: usize,
        /// What came.
        delta: Delta<'e>,
    },
    /// A part is complete; told once. Late pieces of a call may still follow, where a provider mixes
    /// several.
    PartEnd {
        /// Its number.
        part: usize,
    },
    /// Token probabilities of one of the answers, raw, in OpenAI's form.
    Logprobs {
        /// Which answer.
        choice: u64,
        /// The probabilities.
        raw: &'e str,
    },
    /// One of the answers is complete.
    Stop {
        /// Which one.
        choice: u64,
        /// Why it ended.
        reason: Stop,
        /// The stop text that was met.
        sequence: Option<&'e str>,
    },
    /// Tokens so far: replaces what was said before, never adds to it.
    Usage(Usage),
    /// The provider says that it is still there.
    Heartbeat,
    /// The provider failed; nothing follows.
    Error(ProviderError<'e>),
    /// The stream is complete; nothing follows.
    End,
}

/// How an answer begins.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Start<'e> {
    /// The provider's id of it.
    pub id: &'e str,
    /// The model that the provider says answers.
    pub model: &'e str,
    /// The provider's time stamp, in seconds since the Unix epoch.
    pub created: Option<u64>,
    /// Tokens of the prompt, where the provider says them first.
    pub usage: Option<Usage>,
}

/// What a part is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind<'e> {
    /// Text.
    Text,
    /// A refusal in words.
    Refusal,
    /// Thinking.
    Thinking,
    /// Sealed thinking, whole.
    Redacted {
        /// The sealed thought.
        data: &'e str,
    },
    /// A call of a tool.
    ToolCall {
        /// Identity of the call.
        id: &'e str,
        /// The tool.
        name: &'e str,
    },
    /// Something that only the provider's own dialect has.
    Other,
}

/// More of a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delta<'e> {
    /// Of its text: words, a thought.
    Text(&'e str),
    /// Of a tool's arguments: a piece of JSON text.
    Arguments(&'e str),
    /// The seal on a thought.
    Signature(&'e str),
    /// A citation, raw.
    Citation(&'e str),
}
