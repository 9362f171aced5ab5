//! Reads a whole Converse response, its usage, and errors into the neutral form.

use crate::protocols::bedrock::provider::vocabulary::MODEL_FAILED;
use crate::protocols::json::document::Document;
use crate::protocols::neutral::request::Part;
use crate::protocols::neutral::response::{Choice, ProviderError, Response, Stop};
use crate::protocols::provider_api::{UnreadableBody, message_of};
use crate::protocols::usage::Usage;

/// Reads a whole response. It contains neither an id nor the model's name.
///
/// # Errors
/// The response lacks a required field.
pub(crate) fn read<'d>(document: &Document<'d>) -> Result<Response<'d>, UnreadableBody> {
    let content = document
        .field(0, "output")
        .and_then(|at| document.field(at, "message"))
        .and_then(|at| document.field(at, "content"))
        .and_then(|at| document.elements(at))
        .ok_or(UnreadableBody("no content"))?;
    let mut parts = Vec::with_capacity(2);
    for block in content {
        read_block(document, block, &mut parts);
    }
    Ok(Response {
        choices: vec![Choice {
            parts,
            stop: stop(document.text_of(0, "stopReason").unwrap_or_default()),
            stop_sequence: None,
            logprobs: None,
        }],
        usage: usage(document),
        ..Response::default()
    })
}

/// Reads a block. Blocks of other types come from tools that the provider runs.
fn read_block<'d>(document: &Document<'d>, block: usize, parts: &mut Vec<Part<'d>>) {
    if let Some(text) = document.text_of(block, "text") {
        parts.push(Part::text(text));
    } else if let Some(call) = document.field(block, "toolUse") {
        // The provider runs a call that has a type.
        let name = document.text_of(call, "name");
        let name = name.filter(|_| document.text_of(call, "type").is_none());
        parts.extend(name.map(|name| Part::ToolCall {
            id: document.text_of(call, "toolUseId").unwrap_or_default(),
            name,
            arguments: document.raw_of(call, "input").unwrap_or("{}"),
            cache: None,
        }));
    } else if let Some(thought) = document.field(block, "reasoningContent") {
        let words = document.field(thought, "reasoningText");
        parts.extend(words.map(|words| {
            Part::Thinking {
                text: document.text_of(words, "text").unwrap_or_default(),
                signature: document
                    .text_of(words, "signature")
                    .filter(|seal| !seal.is_empty()),
            }
        }));
        let sealed = document.text_of(thought, "redactedContent");
        parts.extend(sealed.map(|data| Part::Redacted { data }));
    } else if let Some(cited) = document.field(block, "citationsContent") {
        // Citations are not requested; the text that they cite is text.
        let texts = document.field(cited, "content");
        let texts = texts.and_then(|at| document.elements(at));
        for at in texts.into_iter().flatten() {
            parts.extend(document.text_of(at, "text").map(Part::text));
        }
    }
}

/// Each `stopReason` and its meaning.
const STOP_REASONS: [(&str, Stop); 9] = [
    ("end_turn", Stop::End),
    ("stop_sequence", Stop::Sequence),
    ("max_tokens", Stop::Length),
    ("tool_use", Stop::ToolCalls),
    ("guardrail_intervened", Stop::Refused),
    ("content_filtered", Stop::Refused),
    ("model_context_window_exceeded", Stop::WindowFull),
    // The provider stopped malformed output, so the response is incomplete.
    ("malformed_model_output", Stop::Length),
    ("malformed_tool_use", Stop::Length),
];

#[must_use]
pub(crate) fn stop(reason: &str) -> Stop {
    let found = STOP_REASONS.iter().find(|(name, _)| *name == reason);
    found.map_or(Stop::End, |(_, stop)| *stop)
}

/// The usage of a response or of the event `metadata`; `inputTokens` leaves out cached tokens.
#[must_use]
pub(crate) fn usage(document: &Document<'_>) -> Option<Usage> {
    let at = document.field(0, "usage")?;
    let count = |name| document.unsigned_of(at, name).unwrap_or(0);
    let (cached, cache_write) = (
        count("cacheReadInputTokens"),
        count("cacheWriteInputTokens"),
    );
    let plain = document.unsigned_of(at, "inputTokens")?;
    Some(Usage {
        prompt: plain.saturating_add(cached).saturating_add(cache_write),
        cached,
        cache_write,
        completion: count("outputTokens"),
        reasoning: None,
    })
}

/// The status of each exception in a stream (the API's list of errors).
const EXCEPTIONS: [(&str, u16); 5] = [
    ("validationException", 400),
    ("throttlingException", 429),
    ("internalServerException", 500),
    ("modelStreamErrorException", MODEL_FAILED),
    ("serviceUnavailableException", 503),
];

#[must_use]
pub(crate) fn status_of(exception: &str) -> u16 {
    let found = EXCEPTIONS.iter().find(|(name, _)| *name == exception);
    found.map_or(500, |(_, status)| *status)
}

/// Reads an error body. The error type is in a header (`x-amzn-errortype`), and seldom in the body.
#[must_use]
pub(crate) fn read_error<'d>(status: u16, document: &Document<'d>) -> ProviderError<'d> {
    let kind = document.text_of(0, "__type");
    let message = document.text_of(0, "Message");
    ProviderError {
        status: client_status(status),
        // The type is preceded by its namespace.
        kind: kind.map(|kind| kind.rsplit('#').next().unwrap_or(kind)),
        param: None,
        window_exceeded: false,
        message: message.map_or_else(|| message_of(document), Into::into),
    }
}

/// The status by which other APIs report the error of this status.
#[must_use]
pub(crate) fn client_status(status: u16) -> u16 {
    if status == MODEL_FAILED { 502 } else { status }
}
