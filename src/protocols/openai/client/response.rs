//! Writes a whole `chat.completion` from the neutral form.
//!
//! Thoughts are written under `reasoning_content` and `thinking_blocks`, citations under `provider_specific_fields`.
//! OpenAI's API has no names for them; clients of other gateways know these.

use crate::protocols::client_api::ResponseContext;
use crate::protocols::json::document::{write_escaped, write_string};
use crate::protocols::json::write::{key, number, open, open_field, raw, text};
use crate::protocols::neutral::request::Part;
use crate::protocols::neutral::response::{Choice, Response};
use crate::protocols::openai::vocabulary::finish_reason;
use crate::protocols::usage::Usage;

/// Appends a whole response.
pub(crate) fn write(response: &Response<'_>, response_ctx: &ResponseContext, out: &mut Vec<u8>) {
    out.push(b'{');
    key(out, "id");
    write_id(response.id, response_ctx, out);
    text(out, "object", "chat.completion");
    number(
        out,
        "created",
        response.created.unwrap_or(response_ctx.created),
    );
    text(out, "model", response.model);
    open_field(out, "choices", b'[');
    for (index, choice) in response.choices.iter().enumerate() {
        write_choice(index as u64, choice, response_ctx, out);
    }
    out.push(b']');
    if let Some(usage) = response.usage {
        key(out, "usage");
        write_usage(usage, out);
    }
    out.push(b'}');
}

/// Appends the id of a response.
pub(crate) fn write_id(id: &str, response_ctx: &ResponseContext, out: &mut Vec<u8>) {
    if id.is_empty() {
        write_string(out, &format!("chatcmpl-{}", response_ctx.request_id));
    } else {
        write_string(out, id);
    }
}

/// Appends the id of the tool call with this number.
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

fn write_choice(
    index: u64,
    choice: &Choice<'_>,
    response_ctx: &ResponseContext,
    out: &mut Vec<u8>,
) {
    open(out, b'{');
    number(out, "index", index);
    open_field(out, "message", b'{');
    text(out, "role", "assistant");
    write_content(choice, out);
    raw(out, "refusal", "null");
    write_thoughts(choice, out);
    write_calls(choice, response_ctx, out);
    write_citations(choice, out);
    out.push(b'}');
    raw(out, "logprobs", choice.logprobs.unwrap_or("null"));
    text(out, "finish_reason", finish_reason(choice.stop));
    out.push(b'}');
}

fn write_content(choice: &Choice<'_>, out: &mut Vec<u8>) {
    let texts = || {
        choice.parts.iter().filter_map(|part| match part {
            Part::Text { text, .. } => Some(*text),
            _ => None,
        })
    };
    key(out, "content");
    if texts().next().is_none() {
        out.extend_from_slice(b"null");
        return;
    }
    out.push(b'"');
    for text in texts() {
        write_escaped(out, text);
    }
    out.push(b'"');
}

fn write_thoughts(choice: &Choice<'_>, out: &mut Vec<u8>) {
    let thoughts = || {
        choice.parts.iter().filter_map(|part| match part {
            Part::Thinking { text, .. } => Some(*text),
            _ => None,
        })
    };
    if thoughts().next().is_some() {
        key(out, "reasoning_content");
        out.push(b'"');
        for text in thoughts() {
            write_escaped(out, text);
        }
        out.push(b'"');
    }
    let is_sealed = |part: &Part<'_>| match part {
        Part::Thinking { signature, .. } => signature.is_some(),
        part => matches!(part, Part::Redacted { .. }),
    };
    if !choice.parts.iter().any(is_sealed) {
        return;
    }
    open_field(out, "thinking_blocks", b'[');
    for part in choice.parts.iter().filter(|part| is_sealed(part)) {
        open(out, b'{');
        match part {
            Part::Thinking {
                text: thought,
                signature,
            } => {
                text(out, "type", "thinking");
                text(out, "thinking", thought);
                text(out, "signature", signature.unwrap_or_default());
            }
            Part::Redacted { data } => {
                text(out, "type", "redacted_thinking");
                text(out, "data", data);
            }
            _ => {}
        }
        out.push(b'}');
    }
    out.push(b']');
}

fn write_calls(choice: &Choice<'_>, response_ctx: &ResponseContext, out: &mut Vec<u8>) {
    let calls = choice.parts.iter().filter_map(|part| match part {
        Part::ToolCall {
            id,
            name,
            arguments,
            ..
        } => Some((*id, *name, *arguments)),
        _ => None,
    });
    let mut any = false;
    for (nth, (id, name, arguments)) in calls.enumerate() {
        if nth == 0 {
            open_field(out, "tool_calls", b'[');
            any = true;
        }
        open(out, b'{');
        key(out, "id");
        write_call_id(id, nth, response_ctx, out);
        text(out, "type", "function");
        open_field(out, "function", b'{');
        text(out, "name", name);
        text(out, "arguments", arguments);
        out.extend_from_slice(b"}}");
    }
    if any {
        out.push(b']');
    }
}

fn write_citations(choice: &Choice<'_>, out: &mut Vec<u8>) {
    let citations = || {
        choice.parts.iter().filter_map(|part| match part {
            Part::Text { citations, .. } => *citations,
            _ => None,
        })
    };
    if citations().next().is_none() {
        return;
    }
    open_field(out, "provider_specific_fields", b'{');
    open_field(out, "citations", b'[');
    for list in citations() {
        crate::protocols::json::write::comma(out);
        out.extend_from_slice(list.as_bytes());
    }
    out.extend_from_slice(b"]}");
}

/// Appends usage as OpenAI counts it: `prompt_tokens` includes cached tokens.
pub(crate) fn write_usage(usage: Usage, out: &mut Vec<u8>) {
    out.push(b'{');
    number(out, "prompt_tokens", usage.prompt);
    number(out, "completion_tokens", usage.completion);
    number(out, "total_tokens", usage.total());
    open_field(out, "prompt_tokens_details", b'{');
    number(out, "cached_tokens", usage.cached);
    if usage.cache_write > 0 {
        number(out, "cache_write_tokens", usage.cache_write);
    }
    out.push(b'}');
    if let Some(reasoning) = usage.reasoning {
        open_field(out, "completion_tokens_details", b'{');
        number(out, "reasoning_tokens", reasoning);
        out.push(b'}');
    }
    out.push(b'}');
}
