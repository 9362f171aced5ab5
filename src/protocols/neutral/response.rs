//! A whole response, why it ended, its tokens, and a provider's error.

use crate::protocols::neutral::request::Part;
use crate::protocols::usage::Usage;
use std::borrow::Cow;

/// A whole response.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Response<'a> {
    /// The provider's id of it.
    pub id: &'a str,
    /// The model that the provider says answered.
    pub model: &'a str,
    /// The provider's time stamp, in seconds since the Unix epoch.
    pub created: Option<u64>,
    /// One, or as many as were asked for.
    pub choices: Vec<Choice<'a>>,
    /// Tokens; `None` if the provider reported none.
    pub usage: Option<Usage>,
}

/// One of the answers.
#[derive(Debug, Clone, PartialEq)]
pub struct Choice<'a> {
    /// What was said, thought and called, in order.
    pub parts: Vec<Part<'a>>,
    /// Why it ended.
    pub stop: Stop,
    /// The stop text that was met.
    pub stop_sequence: Option<&'a str>,
    /// Token probabilities, raw, in OpenAI's form.
    pub logprobs: Option<&'a str>,
}

/// Why an answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// It was complete.
    End,
    /// A stop text was met.
    Sequence,
    /// The token limit.
    Length,
    /// The model's window.
    WindowFull,
    /// Tools are to be called.
    ToolCalls,
    /// The provider or the model refused.
    Refused,
    /// A long turn was paused; the caller is to send it back.
    Paused,
    /// The model's answer is of no use: a call that cannot be read, a tool that there is not.
    Failed,
}

/// An error that a provider reported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProviderError<'a> {
    /// HTTP status to tell; of an error in a stream, the one its kind has.
    pub status: u16,
    /// What the provider said.
    pub message: Cow<'a, str>,
    /// The provider's own word for the kind of error.
    pub kind: Option<&'a str>,
    /// Field of the request, in the provider's dialect.
    pub param: Option<&'a str>,
    /// The prompt is longer than the model's window. Found for all dialects in one place, so readers leave
    /// it false.
    pub window_exceeded: bool,
}

/// Longest message of a provider that clients get, in bytes.
const MESSAGE_BYTES_MAX: usize = 2000;

/// Beginnings of words that are secrets: OpenAI's and Anthropic's keys, Google's, AWS's key ids.
const SECRET_STARTS: [&str; 6] = ["sk-", "sk_", "AIza", "AKIA", "gsk_", "xai-"];

/// A provider's message as callers may see it: whatever looks like a key is masked, and it is cut.
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
    fn keys_are_masked_and_the_rest_kept() {
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
