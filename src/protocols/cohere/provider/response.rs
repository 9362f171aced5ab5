//! Reads a whole chat response, its usage, and errors into the neutral form.
//!
//! Citations are left out: they give positions in the response, while other APIs give positions in the source.

use crate::protocols::json::document::Document;
use crate::protocols::neutral::request::Part;
use crate::protocols::neutral::response::{Choice, ProviderError, Response, Stop};
use crate::protocols::provider_api::{UnreadableBody, message_of};
use crate::protocols::usage::Usage;

/// Reads a whole response. It does not name the model.
///
/// # Errors
/// The response lacks a required field.
pub(crate) fn read<'d>(document: &Document<'d>) -> Result<Response<'d>, UnreadableBody> {
    let message = document
        .field(0, "message")
        .filter(|at| document.fields(*at).is_some())
        .ok_or(UnreadableBody("no message"))?;
    let reason = document.text_of(0, "finish_reason").unwrap_or_default();
    let stop = stop(reason).ok_or(UnreadableBody("its generation failed"))?;
    let mut parts = Vec::with_capacity(2);
    // The plan for using tools is a thought.
    let plan = document.text_of(message, "tool_plan");
    let plan = plan.filter(|text| !text.is_empty());
    parts.extend(plan.map(thought));
    let list = |name| {
        let at = document.field(message, name);
        at.and_then(|at| document.elements(at))
            .into_iter()
            .flatten()
    };
    for block in list("content") {
        let text = |name| document.text_of(block, name);
        parts.extend(text("thinking").map(thought));
        parts.extend(text("text").map(Part::text));
    }
    for call in list("tool_calls") {
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
    Ok(Response {
        id: document.text_of(0, "id").unwrap_or_default(),
        choices: vec![Choice {
            parts,
            stop,
            stop_sequence: None,
            logprobs: None,
        }],
        usage: usage(document, 0),
        ..Response::default()
    })
}

fn thought(text: &str) -> Part<'_> {
    Part::Thinking {
        text,
        signature: None,
    }
}

/// The meaning of a `finish_reason`; `None` if the response failed.
#[must_use]
pub(crate) fn stop(reason: &str) -> Option<Stop> {
    Some(match reason {
        "STOP_SEQUENCE" => Stop::Sequence,
        "MAX_TOKENS" => Stop::Length,
        "TOOL_CALL" => Stop::ToolCalls,
        "ERROR_TOXIC" => Stop::Refused,
        "ERROR" | "TIMEOUT" => return None,
        _ => Stop::End,
    })
}

/// The usage of the object at `at`: the billed tokens, which leave out what the API adds to a prompt, or else the
/// tokens that the model read and wrote.
#[must_use]
pub(crate) fn usage(document: &Document<'_>, at: usize) -> Option<Usage> {
    let usage = document.field(at, "usage")?;
    ["billed_units", "tokens"].into_iter().find_map(|name| {
        let counts = document.field(usage, name)?;
        // The API writes both 5 and 5.0.
        let count = |name| {
            let at = document.field(counts, name)?;
            let number = document.number(at)?;
            Some(if number > 0.0 { number as u64 } else { 0 })
        };
        Some(Usage {
            prompt: count("input_tokens")?,
            completion: count("output_tokens").unwrap_or(0),
            ..Usage::default()
        })
    })
}

/// Reads an error body.
#[must_use]
pub(crate) fn read_error<'d>(status: u16, document: &Document<'d>) -> ProviderError<'d> {
    ProviderError {
        status,
        message: message_of(document),
        kind: None,
        param: None,
        window_exceeded: false,
    }
}
