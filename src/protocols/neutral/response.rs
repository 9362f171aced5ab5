//! A whole response, its stop reason, and a provider's error, in the neutral form.

use crate::protocols::neutral::request::Part;
use crate::protocols::usage::Usage;
use std::borrow::Cow;

/// A whole response.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Response<'a> {
    /// The provider's id of the response.
    pub id: &'a str,
    /// The model's name as the provider reports it.
    pub model: &'a str,
    /// The provider's time stamp, in seconds since the Unix epoch.
    pub created: Option<u64>,
    /// One choice, or as many as requested.
    pub choices: Vec<Choice<'a>>,
    /// Token counts; `None` if the provider reported none.
    pub usage: Option<Usage>,
}

/// One choice of a response.
#[derive(Debug, Clone, PartialEq)]
pub struct Choice<'a> {
    /// Text, thoughts and tool calls, in order.
    pub parts: Vec<Part<'a>>,
    /// The stop reason.
    pub stop: Stop,
    /// The stop sequence that was generated.
    pub stop_sequence: Option<&'a str>,
    /// Token probabilities, raw, in OpenAI's form.
    pub logprobs: Option<&'a str>,
}

/// The stop reason of a choice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// The response is complete.
    End,
    /// The model generated a stop sequence.
    Sequence,
    /// The response reached the token limit.
    Length,
    /// The response filled the model's context window.
    WindowFull,
    /// The model called tools.
    ToolCalls,
    /// The provider or the model refused to respond.
    Refused,
    /// The provider paused a long turn; the client continues it by sending the response back.
    Paused,
    /// The response is unusable: a malformed tool call, or a call of an unknown tool.
    Failed,
}

/// An error that a provider reported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProviderError<'a> {
    /// HTTP status for the client; for an error in a stream, the status of its type.
    pub status: u16,
    /// The provider's message.
    pub message: Cow<'a, str>,
    /// The provider's name for the error type.
    pub kind: Option<&'a str>,
    /// The request field, named as in the provider's API.
    pub param: Option<&'a str>,
    /// Whether the prompt exceeds the model's context window. One function detects this for all APIs, so readers
    /// leave it false.
    pub window_exceeded: bool,
}

/// Longest provider message that clients receive, in bytes.
const MESSAGE_BYTES_MAX: usize = 2000;

/// Prefixes of secrets: keys of OpenAI and Anthropic, Google, and key ids of AWS.
const SECRET_STARTS: [&str; 6] = ["sk-", "sk_", "AIza", "AKIA", "gsk_", "xai-"];

/// A provider's message for clients: everything that looks like a key is masked, and a long message is cut.
#[must_use]
pub(crate) fn redacted(message: &str) -> Cow<'_, str> {
    let end = message.floor_char_boundary(MESSAGE_BYTES_MAX);
    let cut = message.get(..end).unwrap_or_default();
    let is_secret = |word: &str| {
        let word = word.trim_start_matches(|letter: char| !letter.is_ascii_alphanumeric());
        SECRET_STARTS.iter().any(|start| word.starts_with(start)) && word.len() > 10
    };
    let has_bearer = cut.contains("Bearer ");
    if !has_bearer && !cut.split_whitespace().any(is_secret) {
        return Cow::Borrowed(cut);
    }
    let mut out = String::with_capacity(cut.len());
    let mut after_bearer = false;
    for piece in cut.split_inclusive(char::is_whitespace) {
        let word = piece.trim_end();
        if is_secret(word) || after_bearer {
            out.push_str("***");
            out.push_str(piece.get(word.len()..).unwrap_or_default());
        } else {
            out.push_str(piece);
        }
        after_bearer = word.ends_with("Bearer");
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_masked_and_other_text_stays() {
        assert_eq!(redacted("max_tokens: 9 > 8"), "max_tokens: 9 > 8");
        assert_eq!(
            redacted("Incorrect API key provided: sk-proj-abcdefgh. See\nsite"),
            "Incorrect API key provided: ***\u{20}See\nsite"
        );
        assert_eq!(
            redacted("sent 'Bearer abc' to us"),
            "sent 'Bearer *** to us"
        );
        assert_eq!(redacted("'AIzaSyA-12345678'"), "***");
        assert_eq!(redacted(&"é".repeat(3000)).len(), MESSAGE_BYTES_MAX);
    }
}
