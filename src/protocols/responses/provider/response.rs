//! Reads a whole response, its usage, and errors into the neutral form.

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
    let output = document
        .field(0, "output")
        .and_then(|at| document.elements(at))
        .ok_or(UnreadableBody("no output"))?;
    let mut parts = Vec::with_capacity(2);
    for item in output {
        read_item(document, item, &mut parts);
    }
    let text = |name| document.text_of(0, name).unwrap_or_default();
    let calls = parts
        .iter()
        .any(|part| matches!(part, Part::ToolCall { .. }));
    Ok(Response {
        id: text("id"),
        model: text("model"),
        created: document.unsigned_of(0, "created_at"),
        choices: vec![Choice {
            parts,
            stop: stop(document, 0, calls),
            stop_sequence: None,
            logprobs: None,
        }],
        usage: usage(document, 0),
    })
}

/// Reads an item. Items of other types come from tools that the provider runs.
fn read_item<'d>(document: &Document<'d>, item: usize, parts: &mut Vec<Part<'d>>) {
    let text = |name| document.text_of(item, name);
    match text("type").unwrap_or_default() {
        "message" => {
            let content = document.field(item, "content");
            let content = content.and_then(|at| document.elements(at));
            for part in content.into_iter().flatten() {
                let words = document.text_of(part, "text");
                let words = words.or_else(|| document.text_of(part, "refusal"));
                parts.extend(words.map(Part::text));
            }
        }
        "function_call" => parts.push(Part::ToolCall {
            id: text("call_id").unwrap_or_default(),
            name: text("name").unwrap_or_default(),
            arguments: match text("arguments").unwrap_or_default() {
                blank if blank.trim().is_empty() => "{}",
                arguments => arguments,
            },
            cache: None,
        }),
        "reasoning" => parts.extend(thought(document, item)),
        _ => {}
    }
}

/// A thought: text with or without encrypted content, or encrypted content alone; `None` if it has neither.
fn thought<'d>(document: &Document<'d>, item: usize) -> Option<Part<'d>> {
    let seal = document.text_of(item, "encrypted_content");
    let seal = seal.filter(|seal| !seal.is_empty());
    let texts = ["summary", "content"].into_iter().find_map(|name| {
        let list = document.field(item, name)?;
        let first = document.elements(list)?.next()?;
        document.text_of(first, "text")
    });
    match (texts, seal) {
        (Some(text), signature) => Some(Part::Thinking { text, signature }),
        (None, Some(data)) => Some(Part::Redacted { data }),
        (None, None) => None,
    }
}

/// The stop reason of the response at `at`.
#[must_use]
pub(crate) fn stop(document: &Document<'_>, at: usize, has_calls: bool) -> Stop {
    let why = document.field(at, "incomplete_details");
    match why.and_then(|at| document.text_of(at, "reason")) {
        Some("content_filter") => Stop::Refused,
        Some(_) => Stop::Length,
        None if has_calls => Stop::ToolCalls,
        None => Stop::End,
    }
}

/// The usage of the response at `at`; `input_tokens` includes cached tokens.
#[must_use]
pub(crate) fn usage(document: &Document<'_>, at: usize) -> Option<Usage> {
    let at = document.field(at, "usage")?;
    let detail = |list, name| {
        let details = document.field(at, list)?;
        document.unsigned_of(details, name)
    };
    Some(Usage {
        prompt: document.unsigned_of(at, "input_tokens")?,
        cached: detail("input_tokens_details", "cached_tokens").unwrap_or(0),
        cache_write: detail("input_tokens_details", "cache_write_tokens").unwrap_or(0),
        completion: document.unsigned_of(at, "output_tokens").unwrap_or(0),
        reasoning: detail("output_tokens_details", "reasoning_tokens").filter(|count| *count > 0),
    })
}

/// Reads an error body.
#[must_use]
pub(crate) fn read_error<'d>(status: u16, document: &Document<'d>) -> ProviderError<'d> {
    let error = document.field(0, "error").unwrap_or(0);
    let code = document.text_of(error, "code");
    ProviderError {
        status,
        message: message_of(document),
        kind: code.or_else(|| document.text_of(error, "type")),
        param: document.text_of(error, "param"),
        window_exceeded: false,
    }
}
