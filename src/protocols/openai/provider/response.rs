//! Reads a whole `chat.completion`, its usage, and errors into the neutral form.

use crate::protocols::json::document::Document;
use crate::protocols::neutral::request::Part;
use crate::protocols::neutral::response::{Choice, ProviderError, Response, Stop};
use crate::protocols::openai::vocabulary::FINISH_REASONS;
use crate::protocols::provider_api::{UnreadableBody, message_of};
use crate::protocols::usage::Usage;

/// The fields in which compatible servers return thoughts (DeepSeek and vLLM, OpenRouter).
pub(crate) const THOUGHTS: [&str; 2] = ["reasoning_content", "reasoning"];

/// Reads a whole response.
///
/// # Errors
/// The response lacks a required field.
pub(crate) fn read<'d>(document: &Document<'d>) -> Result<Response<'d>, UnreadableBody> {
    let choices = document
        .field(0, "choices")
        .and_then(|at| document.elements(at))
        .ok_or(UnreadableBody("no choices"))?;
    let mut read = Vec::with_capacity(1);
    for choice in choices {
        read.push(read_choice(document, choice)?);
    }
    if read.is_empty() {
        return Err(UnreadableBody("no choices"));
    }
    let text = |name| document.text_of(0, name).unwrap_or_default();
    Ok(Response {
        id: text("id"),
        model: text("model"),
        created: document.unsigned_of(0, "created"),
        choices: read,
        usage: usage(document),
    })
}

fn read_choice<'d>(document: &Document<'d>, choice: usize) -> Result<Choice<'d>, UnreadableBody> {
    let message = document
        .field(choice, "message")
        .ok_or(UnreadableBody("no message"))?;
    let mut parts = Vec::with_capacity(2);
    let thought = THOUGHTS
        .iter()
        .find_map(|name| document.text_of(message, name))
        .filter(|text| !text.is_empty());
    parts.extend(thought.map(|text| Part::Thinking {
        text,
        signature: None,
    }));
    if let Some(content) = document.field(message, "content") {
        read_content(document, content, &mut parts);
    }
    let refusal = document
        .text_of(message, "refusal")
        .filter(|text| !text.is_empty());
    parts.extend(refusal.map(Part::text));
    let calls = document.field(message, "tool_calls");
    let calls = calls.and_then(|at| document.elements(at));
    let mut has_calls = false;
    for call in calls.into_iter().flatten() {
        has_calls = true;
        let function = document
            .field(call, "function")
            .ok_or(UnreadableBody("a tool call without a function"))?;
        let arguments = document.text_of(function, "arguments").unwrap_or_default();
        parts.push(Part::ToolCall {
            id: document.text_of(call, "id").unwrap_or_default(),
            name: document.text_of(function, "name").unwrap_or_default(),
            arguments: if arguments.trim().is_empty() {
                "{}"
            } else {
                arguments
            },
            cache: None,
        });
    }
    let reason = document.text_of(choice, "finish_reason");
    let stop = match refusal {
        Some(_) => Stop::Refused,
        None => stop(reason.unwrap_or_default(), has_calls),
    };
    Ok(Choice {
        parts,
        stop,
        stop_sequence: None,
        logprobs: document.raw_of(choice, "logprobs"),
    })
}

/// Reads content: a string, or parts as Mistral sends them.
fn read_content<'d>(document: &Document<'d>, content: usize, parts: &mut Vec<Part<'d>>) {
    let text = document.text(content).filter(|text| !text.is_empty());
    parts.extend(text.map(Part::text));
    for part in document.elements(content).into_iter().flatten() {
        parts.extend(document.text_of(part, "text").map(Part::text));
    }
}

/// The meaning of a `finish_reason`. A forced tool call ends with `stop`, so the presence of calls takes precedence.
#[must_use]
pub(crate) fn stop(reason: &str, has_calls: bool) -> Stop {
    let found = FINISH_REASONS.iter().find(|(name, _)| *name == reason);
    match found.map_or(Stop::End, |(_, stop)| *stop) {
        Stop::End if has_calls => Stop::ToolCalls,
        stop => stop,
    }
}

/// The usage of a response or chunk; `prompt_tokens` includes cached tokens.
#[must_use]
pub(crate) fn usage(document: &Document<'_>) -> Option<Usage> {
    let at = document.field(0, "usage")?;
    let detail = |list, name| {
        let details = document.field(at, list)?;
        document.unsigned_of(details, name)
    };
    Some(Usage {
        prompt: document.unsigned_of(at, "prompt_tokens")?,
        cached: detail("prompt_tokens_details", "cached_tokens").unwrap_or(0),
        cache_write: detail("prompt_tokens_details", "cache_write_tokens").unwrap_or(0),
        completion: document.unsigned_of(at, "completion_tokens").unwrap_or(0),
        reasoning: detail("completion_tokens_details", "reasoning_tokens"),
    })
}

/// Reads an error body, also from servers that are only nearly compatible.
#[must_use]
pub(crate) fn read_error<'d>(status: u16, document: &Document<'d>) -> ProviderError<'d> {
    let error = document.field(0, "error").unwrap_or(0);
    let code = document.text_of(error, "code");
    let kind = code.or_else(|| document.text_of(error, "type"));
    ProviderError {
        status,
        message: message_of(document),
        kind,
        param: document.text_of(error, "param"),
        window_exceeded: false,
    }
}
