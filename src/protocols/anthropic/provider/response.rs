//! Reads a whole Message, its usage, and errors into the neutral form.

use crate::protocols::anthropic::vocabulary::STOP_REASONS;
use crate::protocols::json::document::Document;
use crate::protocols::neutral::request::Part;
use crate::protocols::neutral::response::{Choice, ProviderError, Response, Stop};
use crate::protocols::provider_api::{UnreadableBody, message_of};
use crate::protocols::usage::Usage;

/// Reads a whole response.
///
/// # Errors
/// The response lacks a required field.
pub(crate) fn read<'d>(document: &Document<'d>) -> Result<Response<'d>, UnreadableBody> {
    let content = document
        .field(0, "content")
        .and_then(|at| document.elements(at))
        .ok_or(UnreadableBody("no content"))?;
    let mut parts = Vec::with_capacity(2);
    for block in content {
        // Blocks of other types come from tools that the provider runs. The text reports their results.
        parts.extend(read_block(document, block));
    }
    let text = |name| document.text_of(0, name);
    let usage = document.field(0, "usage").map(|at| {
        let mut usage = Counted::default();
        usage.take(document, at);
        usage.sum()
    });
    Ok(Response {
        id: text("id").unwrap_or_default(),
        model: text("model").unwrap_or_default(),
        created: None,
        choices: vec![Choice {
            parts,
            stop: stop(text("stop_reason").unwrap_or_default()),
            stop_sequence: text("stop_sequence"),
            logprobs: None,
        }],
        usage,
    })
}

fn read_block<'d>(document: &Document<'d>, block: usize) -> Option<Part<'d>> {
    let text = |name| document.text_of(block, name);
    Some(match text("type")? {
        "text" => Part::Text {
            text: text("text")?,
            cache: None,
            citations: document.raw_of(block, "citations"),
        },
        "tool_use" => Part::ToolCall {
            id: text("id").unwrap_or_default(),
            name: text("name")?,
            arguments: document.raw_of(block, "input").unwrap_or("{}"),
            cache: None,
        },
        "thinking" => Part::Thinking {
            text: text("thinking")?,
            signature: text("signature").filter(|seal| !seal.is_empty()),
        },
        "redacted_thinking" => Part::Redacted {
            data: text("data")?,
        },
        _ => return None,
    })
}

#[must_use]
pub(crate) fn stop(reason: &str) -> Stop {
    let found = STOP_REASONS.iter().find(|(name, _)| *name == reason);
    found.map_or(Stop::End, |(_, stop)| *stop)
}

/// Token counts as Anthropic reports them: input without cached tokens. Counts in a stream are cumulative, so a later
/// count replaces an earlier one, field by field.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Counted {
    input: u64,
    cached: u64,
    cache_write: u64,
    output: u64,
    reasoning: Option<u64>,
}

impl Counted {
    /// Reads the usage object at `at`.
    pub(crate) fn take(&mut self, document: &Document<'_>, at: usize) {
        for (name, value) in document.fields(at).into_iter().flatten() {
            let count = document.unsigned(value);
            match name {
                "input_tokens" => self.input = count.unwrap_or(self.input),
                "cache_read_input_tokens" => self.cached = count.unwrap_or(self.cached),
                "cache_creation_input_tokens" => {
                    self.cache_write = count.unwrap_or(self.cache_write);
                }
                "output_tokens" => self.output = count.unwrap_or(self.output),
                "output_tokens_details" => {
                    let thought = document.unsigned_of(value, "thinking_tokens");
                    self.reasoning = thought.or(self.reasoning);
                }
                _ => {}
            }
        }
    }

    /// The counts as [`Usage`].
    #[must_use]
    pub(crate) fn sum(&self) -> Usage {
        let input = self.input.saturating_add(self.cached);
        Usage {
            prompt: input.saturating_add(self.cache_write),
            cached: self.cached,
            cache_write: self.cache_write,
            completion: self.output,
            reasoning: self.reasoning,
        }
    }
}

/// The status of each error type, for errors in a stream (the API's list of errors).
const ERROR_STATUSES: [(&str, u16); 9] = [
    ("invalid_request_error", 400),
    ("authentication_error", 401),
    ("billing_error", 402),
    ("permission_error", 403),
    ("not_found_error", 404),
    ("request_too_large", 413),
    ("rate_limit_error", 429),
    ("timeout_error", 504),
    ("overloaded_error", OVERLOADED),
];

/// Anthropic's status for an overloaded server.
const OVERLOADED: u16 = 529;

/// Reads an error body or event. `status` 0: the status follows from the error type.
#[must_use]
pub(crate) fn read_error<'d>(status: u16, document: &Document<'d>) -> ProviderError<'d> {
    let error = document.field(0, "error").unwrap_or(0);
    let kind = document.text_of(error, "type");
    let found = ERROR_STATUSES.iter().find(|(name, _)| Some(*name) == kind);
    let status = match status {
        0 => found.map_or(500, |(_, status)| *status),
        status => status,
    };
    ProviderError {
        // Other APIs use 503 for it.
        status: if status == OVERLOADED { 503 } else { status },
        kind,
        param: None,
        window_exceeded: false,
        message: message_of(document),
    }
}
