//! Writes a whole response from the neutral form: its items, its other fields and its usage.
//!
//! The ids of items are derived from the request's id, because other APIs have no such ids.

use crate::protocols::client_api::ResponseContext;
use crate::protocols::json::document::{Document, write_string};
use crate::protocols::json::write::{key, number, open, open_field, raw, raw_if, text};
use crate::protocols::neutral::request::Part;
use crate::protocols::neutral::response::{Response, Stop};
use crate::protocols::usage::Usage;

/// Appends a whole response. Only the first choice is written, because this API has one choice.
pub(crate) fn write(response: &Response<'_>, response_ctx: &ResponseContext, out: &mut Vec<u8>) {
    let choice = response.choices.first();
    let parts = choice.map_or(&[][..], |choice| &choice.parts);
    let mut items = Vec::new();
    let mut in_message = false;
    for (nth, part) in parts.iter().enumerate() {
        let is_text = matches!(part, Part::Text { .. });
        if in_message && !is_text {
            items.extend_from_slice(b"]}");
        }
        match part {
            Part::Text { text: words, .. } => {
                if !in_message {
                    begin_message(&item_id("msg", response_ctx, nth), "completed", &mut items);
                }
                write_text(words, &mut items);
            }
            part => write_item(part, nth, response_ctx, &mut items),
        }
        in_message = is_text;
    }
    if in_message {
        items.extend_from_slice(b"]}");
    }
    let frame = Frame {
        response_ctx,
        created: response.created,
        model: response.model,
        stop: Some(choice.map_or(Stop::End, |choice| choice.stop)),
        usage: response.usage,
    };
    frame.write(&items, out);
}

/// A response without its items.
pub(crate) struct Frame<'a> {
    /// Values that the provider's response may lack.
    pub response_ctx: &'a ResponseContext,
    /// The provider's time stamp.
    pub created: Option<u64>,
    /// The model's name.
    pub model: &'a str,
    /// The stop reason; `None` until the response ends.
    pub stop: Option<Stop>,
    /// The usage so far.
    pub usage: Option<Usage>,
}

impl Frame<'_> {
    /// The status of the response, and why it is incomplete.
    #[must_use]
    pub(crate) fn status(&self) -> (&'static str, Option<&'static str>) {
        match self.stop {
            None => ("in_progress", None),
            Some(Stop::Length | Stop::WindowFull) => ("incomplete", Some("max_output_tokens")),
            Some(Stop::Refused) => ("incomplete", Some("content_filter")),
            Some(_) => ("completed", None),
        }
    }

    /// Appends the response with these items, which are separated by commas.
    pub(crate) fn write(&self, items: &[u8], out: &mut Vec<u8>) {
        out.push(b'{');
        key(out, "id");
        write_string(out, &format!("resp_{}", self.response_ctx.request_id));
        text(out, "object", "response");
        number(
            out,
            "created_at",
            self.created.unwrap_or(self.response_ctx.created),
        );
        let (status, why) = self.status();
        text(out, "status", status);
        raw(out, "error", "null");
        match why {
            None => raw(out, "incomplete_details", "null"),
            Some(why) => {
                open_field(out, "incomplete_details", b'{');
                text(out, "reason", why);
                out.push(b'}');
            }
        }
        text(out, "model", self.model);
        open_field(out, "output", b'[');
        out.extend_from_slice(items);
        out.push(b']');
        match self.response_ctx.echoed_fields.as_slice() {
            [] => write_echoed_fields(|_| None, out),
            fields => out.extend_from_slice(fields),
        }
        raw(out, "store", "false");
        match self.usage {
            Some(usage) => {
                key(out, "usage");
                write_usage(usage, out);
            }
            None => raw(out, "usage", "null"),
        }
        out.push(b'}');
    }
}

/// Request fields that a response echoes, each with the value it has if the request omits it. `None`: the
/// response omits the field too.
const ECHOED_FIELDS: [(&str, Option<&str>); 12] = [
    ("instructions", None),
    ("max_output_tokens", None),
    ("metadata", None),
    ("parallel_tool_calls", Some("true")),
    ("reasoning", None),
    ("temperature", None),
    ("text", None),
    ("tool_choice", Some("\"auto\"")),
    ("tools", Some("[]")),
    ("top_p", None),
    ("truncation", None),
    ("user", None),
];

/// The echoed fields of a request, each preceded by a comma.
pub(crate) fn echoed_fields(document: &Document<'_>) -> Vec<u8> {
    let mut out = Vec::with_capacity(128);
    write_echoed_fields(|name| document.raw_of(0, name), &mut out);
    out
}

fn write_echoed_fields<'v>(value: impl Fn(&str) -> Option<&'v str>, out: &mut Vec<u8>) {
    for (name, default) in ECHOED_FIELDS {
        raw_if(out, name, value(name).or(default));
    }
}

/// The id of the `nth` item.
#[must_use]
pub(crate) fn item_id(kind: &str, response_ctx: &ResponseContext, nth: usize) -> String {
    format!("{kind}_{}_{nth}", response_ctx.request_id)
}

/// Opens the item of a message, up to its first part.
pub(crate) fn begin_message(id: &str, status: &str, out: &mut Vec<u8>) {
    if !out.is_empty() && out.last() != Some(&b':') {
        out.push(b',');
    }
    out.extend_from_slice(b"{\"type\":\"message\"");
    text(out, "id", id);
    text(out, "status", status);
    text(out, "role", "assistant");
    open_field(out, "content", b'[');
}

/// Appends a text part.
pub(crate) fn write_text(words: &str, out: &mut Vec<u8>) {
    open(out, b'{');
    text(out, "type", "output_text");
    text(out, "text", words);
    raw(out, "annotations", "[]");
    raw(out, "logprobs", "[]");
    out.push(b'}');
}

/// Appends the item of a thought or a tool call.
fn write_item(part: &Part<'_>, nth: usize, response_ctx: &ResponseContext, out: &mut Vec<u8>) {
    let (thought, seal) = match part {
        Part::Thinking { text, signature } => (*text, *signature),
        Part::Redacted { data } => ("", Some(*data)),
        Part::ToolCall {
            id,
            name,
            arguments,
            ..
        } => {
            separate(out);
            let call = FunctionCall {
                item: &item_id("fc", response_ctx, nth),
                id,
                name,
                arguments,
                status: "completed",
            };
            call.write(nth, response_ctx, out);
            return;
        }
        // Models produce no other parts.
        _ => return,
    };
    separate(out);
    write_thought(&item_id("rs", response_ctx, nth), thought, seal, out);
}

fn separate(out: &mut Vec<u8>) {
    if !out.is_empty() {
        out.push(b',');
    }
}

/// Appends a reasoning item. The signature is written to the field that holds encrypted content.
pub(crate) fn write_thought(id: &str, thought: &str, seal: Option<&str>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"type\":\"reasoning\"");
    text(out, "id", id);
    write_summary(thought, out);
    if let Some(seal) = seal {
        text(out, "encrypted_content", seal);
    }
    out.push(b'}');
}

/// The item of a tool call.
pub(crate) struct FunctionCall<'c> {
    /// The id of the item.
    pub item: &'c str,
    /// The id of the call; generated if it is empty.
    pub id: &'c str,
    /// The name of the tool.
    pub name: &'c str,
    /// The arguments.
    pub arguments: &'c str,
    /// The status of the item.
    pub status: &'c str,
}

impl FunctionCall<'_> {
    pub(crate) fn write(&self, nth: usize, response_ctx: &ResponseContext, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"type\":\"function_call\"");
        text(out, "id", self.item);
        key(out, "call_id");
        if self.id.is_empty() {
            write_string(out, &item_id("call", response_ctx, nth));
        } else {
            write_string(out, self.id);
        }
        text(out, "name", self.name);
        text(out, "arguments", self.arguments);
        text(out, "status", self.status);
        out.push(b'}');
    }
}

/// Appends usage: `input_tokens` includes cached tokens.
fn write_usage(usage: Usage, out: &mut Vec<u8>) {
    out.push(b'{');
    number(out, "input_tokens", usage.prompt);
    open_field(out, "input_tokens_details", b'{');
    number(out, "cached_tokens", usage.cached);
    number(out, "cache_write_tokens", usage.cache_write);
    out.push(b'}');
    number(out, "output_tokens", usage.completion);
    open_field(out, "output_tokens_details", b'{');
    number(out, "reasoning_tokens", usage.reasoning.unwrap_or(0));
    out.push(b'}');
    number(out, "total_tokens", usage.total());
    out.push(b'}');
}

/// Appends the summary of a reasoning item.
pub(crate) fn write_summary(thought: &str, out: &mut Vec<u8>) {
    open_field(out, "summary", b'[');
    if !thought.is_empty() {
        out.extend_from_slice(b"{\"type\":\"summary_text\"");
        text(out, "text", thought);
        out.push(b'}');
    }
    out.push(b']');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocols::json::document::Scratch;

    #[test]
    fn the_response_echoes_fields_of_the_request() {
        let of = |body: &str| {
            let fields = Scratch::default().with_document(body.as_bytes(), echoed_fields);
            String::from_utf8(fields.unwrap()).unwrap()
        };
        assert_eq!(
            of(
                r#"{"model":"m","input":"hi","text": {"format":{"type":"text"}} ,"tools":null,"temperature":0.20}"#
            ),
            r#","parallel_tool_calls":true,"temperature":0.20,"text":{"format":{"type":"text"}},"tool_choice":"auto","tools":[]"#
        );
    }
}
