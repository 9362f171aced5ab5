//! Writes a whole `GenerateContentResponse`, and errors, from the neutral form.

use crate::protocols::client_api::ResponseContext;
use crate::protocols::json::document::write_string;

use crate::protocols::gemini::vocabulary::FINISH_REASONS;
use crate::protocols::json::write::{key, number, open, open_field, raw, text};
use crate::protocols::neutral::request::Part;
use crate::protocols::neutral::response::{Response, Stop};
use crate::protocols::neutral::tool_arguments::write_input;
use crate::protocols::usage::Usage;

/// Appends a whole response.
pub(crate) fn write(response: &Response<'_>, response_ctx: &ResponseContext, out: &mut Vec<u8>) {
    out.push(b'{');
    open_field(out, "candidates", b'[');
    for (index, choice) in response.choices.iter().enumerate() {
        open(out, b'{');
        open_field(out, "content", b'{');
        open_field(out, "parts", b'[');
        for (nth, part) in choice.parts.iter().enumerate() {
            write_part(part, nth, response_ctx, out);
        }
        out.push(b']');
        text(out, "role", "model");
        out.push(b'}');
        text(out, "finishReason", finish_reason(choice.stop));
        number(out, "index", index as u64);
        out.push(b'}');
    }
    out.push(b']');
    if let Some(usage) = response.usage {
        write_usage(usage, out);
    }
    write_frame(response.id, response.model, response_ctx, out);
    out.push(b'}');
}

/// Appends the fields that identify the response.
pub(crate) fn write_frame(
    id: &str,
    model: &str,
    response_ctx: &ResponseContext,
    out: &mut Vec<u8>,
) {
    text(out, "modelVersion", model);
    text(
        out,
        "responseId",
        if id.is_empty() {
            &response_ctx.request_id
        } else {
            id
        },
    );
}

fn write_part(part: &Part<'_>, nth: usize, response_ctx: &ResponseContext, out: &mut Vec<u8>) {
    match part {
        Part::Text { text: words, .. } => {
            open(out, b'{');
            text(out, "text", words);
            out.push(b'}');
        }
        Part::Thinking {
            text: thought,
            signature,
        } => write_thought(thought, *signature, out),
        Part::ToolCall {
            id,
            name,
            arguments,
            ..
        } => {
            let call = ToolCall {
                id,
                name,
                arguments,
            };
            write_call(call, nth, response_ctx, out);
        }
        // Models produce no other parts; parts that only another provider can read are left out.
        _ => {}
    }
}

/// Appends a thought.
pub(crate) fn write_thought(thought: &str, signature: Option<&str>, out: &mut Vec<u8>) {
    open(out, b'{');
    text(out, "text", thought);
    raw(out, "thought", "true");
    if let Some(signature) = signature {
        text(out, "thoughtSignature", signature);
    }
    out.push(b'}');
}

pub(crate) struct ToolCall<'c> {
    pub id: &'c str,
    pub name: &'c str,
    /// A JSON object as text, as the model wrote it.
    pub arguments: &'c str,
}

/// Appends a tool call; arguments that are not a JSON object are wrapped in one.
pub(crate) fn write_call(
    call: ToolCall<'_>,
    nth: usize,
    response_ctx: &ResponseContext,
    out: &mut Vec<u8>,
) {
    open(out, b'{');
    open_field(out, "functionCall", b'{');
    key(out, "id");
    write_call_id(call.id, nth, response_ctx, out);
    text(out, "name", call.name);
    key(out, "args");
    write_input(
        if call.arguments.trim().is_empty() {
            "{}"
        } else {
            call.arguments
        },
        out,
    );
    out.extend_from_slice(b"}}");
}

/// The `finishReason` of a stop reason.
#[must_use]
pub(crate) fn finish_reason(stop: Stop) -> &'static str {
    let mut named = FINISH_REASONS.iter().skip(1);
    match stop {
        Stop::Sequence | Stop::ToolCalls => "STOP",
        Stop::WindowFull => "MAX_TOKENS",
        stop => named
            .find(|(_, meaning)| *meaning == stop)
            .map_or("OTHER", |(name, _)| name),
    }
}

/// Appends usage as Gemini counts it: `candidatesTokenCount` leaves out thinking.
pub(crate) fn write_usage(usage: Usage, out: &mut Vec<u8>) {
    open_field(out, "usageMetadata", b'{');
    let thoughts = usage.reasoning.unwrap_or(0).min(usage.completion);
    number(out, "promptTokenCount", usage.prompt);
    if usage.cached > 0 {
        number(out, "cachedContentTokenCount", usage.cached);
    }
    number(out, "candidatesTokenCount", usage.completion - thoughts);
    if usage.reasoning.is_some() {
        number(out, "thoughtsTokenCount", thoughts);
    }
    let total = usage.total();
    number(out, "totalTokenCount", total);
    out.push(b'}');
}

/// Appends the id of the call with this number.
pub(crate) fn write_call_id(
    id: &str,
    nth: usize,
    response_ctx: &ResponseContext,
    out: &mut Vec<u8>,
) {
    if id.is_empty() {
        write_string(out, &format!("call_{}_{nth}", response_ctx.request_id));
    } else {
        write_string(out, id);
    }
}
