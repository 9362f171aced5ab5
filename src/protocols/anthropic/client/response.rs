//! Writes a whole Message, and errors, from the neutral form.

use crate::protocols::anthropic::vocabulary::{STOP_REASONS, error_type};
use crate::protocols::client_api::ResponseContext;
use crate::protocols::json::document::{write_string, write_u64};
use crate::protocols::json::write::{comma, key, number, open, open_field, raw, text};
use crate::protocols::neutral::request::Part;
use crate::protocols::neutral::response::{ProviderError, Response, Stop, redacted};
use crate::protocols::neutral::tool_arguments::write_input;
use crate::protocols::usage::Usage;

/// Appends a whole response. Only the first choice is written, because this API has one choice.
pub(crate) fn write(response: &Response<'_>, response_ctx: &ResponseContext, out: &mut Vec<u8>) {
    out.push(b'{');
    key(out, "id");
    write_id(response.id, response_ctx, out);
    text(out, "type", "message");
    text(out, "role", "assistant");
    text(out, "model", response.model);
    open_field(out, "content", b'[');
    let choice = response.choices.first();
    let parts = choice.map(|choice| choice.parts.as_slice());
    for (nth, part) in parts.unwrap_or_default().iter().enumerate() {
        write_block(part, nth, response_ctx, out);
    }
    out.push(b']');
    let stop = choice.map_or(Stop::End, |choice| choice.stop);
    write_stop(stop, choice.and_then(|choice| choice.stop_sequence), out);
    key(out, "usage");
    write_usage(response.usage.unwrap_or_default(), out);
    out.push(b'}');
}

/// Appends the id of a message.
pub(crate) fn write_id(id: &str, response_ctx: &ResponseContext, out: &mut Vec<u8>) {
    if id.is_empty() {
        write_string(out, &format!("msg_{}", response_ctx.request_id));
    } else {
        write_string(out, id);
    }
}

/// Appends the id of the tool call in block `nth`.
pub(crate) fn write_call_id(
    id: &str,
    nth: usize,
    response_ctx: &ResponseContext,
    out: &mut Vec<u8>,
) {
    if id.is_empty() {
        write_string(out, &format!("toolu_{}_{nth}", response_ctx.request_id));
    } else {
        write_string(out, id);
    }
}

fn write_block(part: &Part<'_>, nth: usize, response_ctx: &ResponseContext, out: &mut Vec<u8>) {
    match part {
        Part::Text {
            text: words,
            citations,
            ..
        } => {
            open(out, b'{');
            text(out, "type", "text");
            text(out, "text", words);
            if let Some(citations) = citations {
                raw(out, "citations", citations);
            }
        }
        Part::Thinking {
            text: thought,
            signature,
        } => {
            open(out, b'{');
            text(out, "type", "thinking");
            text(out, "thinking", thought);
            text(out, "signature", signature.unwrap_or_default());
        }
        Part::Redacted { data } => {
            open(out, b'{');
            text(out, "type", "redacted_thinking");
            text(out, "data", data);
        }
        Part::ToolCall {
            id,
            name,
            arguments,
            ..
        } => {
            open(out, b'{');
            text(out, "type", "tool_use");
            key(out, "id");
            write_call_id(id, nth, response_ctx, out);
            text(out, "name", name);
            key(out, "input");
            write_input(arguments, out);
        }
        // Models produce no other parts.
        _ => return,
    }
    out.push(b'}');
}

/// Appends `stop_reason` and `stop_sequence`.
pub(crate) fn write_stop(stop: Stop, sequence: Option<&str>, out: &mut Vec<u8>) {
    let found = STOP_REASONS.iter().find(|(_, meaning)| *meaning == stop);
    text(
        out,
        "stop_reason",
        found.map_or("end_turn", |(name, _)| name),
    );
    match sequence {
        Some(sequence) => text(out, "stop_sequence", sequence),
        None => raw(out, "stop_sequence", "null"),
    }
}

/// Appends usage as Anthropic counts it: `input_tokens` leaves out cached tokens.
pub(crate) fn write_usage(usage: Usage, out: &mut Vec<u8>) {
    out.push(b'{');
    number(out, "input_tokens", usage.uncached_prompt());
    number(out, "cache_creation_input_tokens", usage.cache_write);
    number(out, "cache_read_input_tokens", usage.cached);
    number(out, "output_tokens", usage.completion);
    if let Some(reasoning) = usage.reasoning {
        open_field(out, "output_tokens_details", b'{');
        number(out, "thinking_tokens", reasoning);
        out.push(b'}');
    }
    out.push(b'}');
}

/// Appends a provider's error as an Anthropic error body. The provider's own error type is reported under `metadata`.
pub(crate) fn write_provider_error(failure: &ProviderError<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"type\":\"error\",\"error\":{");
    text(out, "type", error_type(failure.status));
    text(out, "message", &redacted(&failure.message));
    if let Some(param) = failure.param {
        text(out, "param", param);
    }
    open_field(out, "metadata", b'{');
    key(out, "provider_error");
    match failure.kind {
        Some(kind) => write_string(out, kind),
        None => write_u64(out, u64::from(failure.status)),
    }
    if failure.window_exceeded {
        comma(out);
        out.extend_from_slice(b"\"window_exceeded\":true");
    }
    out.extend_from_slice(b"}}}");
}
