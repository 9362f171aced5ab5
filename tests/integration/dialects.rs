//! Requests, answers and streams of each dialect, for tests that hold in all of them.

use crate::harness::*;
use serde_json::{Value, json};

/// A dialect of callers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Caller {
    OpenAi,
    Anthropic,
    Gemini,
}

use Caller::{Anthropic, Gemini, OpenAi};

impl Caller {
    /// Where it asks for model `m`.
    pub(crate) fn path(self, streams: bool) -> &'static str {
        match (self, streams) {
            (OpenAi, _) => "/v1/chat/completions",
            (Anthropic, _) => "/v1/messages",
            (Gemini, false) => "/v1beta/models/m:generateContent",
            (Gemini, true) => "/v1beta/models/m:streamGenerateContent?alt=sse",
        }
    }

    /// A request.
    pub(crate) fn body(self, question: &str, streams: bool) -> Value {
        match self {
            OpenAi => with(ask(question), "stream", streams.into()),
            Anthropic => json!({"model": "m", "max_tokens": 9, "stream": streams,
                "messages": [{"role": "user", "content": question}]}),
            Gemini => json!({"contents": [{"role": "user", "parts": [{"text": question}]}]}),
        }
    }

    /// The text of an answer, whole or streamed.
    pub(crate) fn text(self, reply: &Response) -> String {
        let (whole, piece) = match self {
            OpenAi => ("/choices/0/message/content", "/choices/0/delta/content"),
            Anthropic => ("/content/0/text", "/delta/text"),
            Gemini => (
                "/candidates/0/content/parts/0/text",
                "/candidates/0/content/parts/0/text",
            ),
        };
        let at = |value: &Value, position: &str| {
            let text = value.pointer(position).and_then(Value::as_str);
            text.unwrap_or_default().to_owned()
        };
        match serde_json::from_slice::<Value>(&reply.body) {
            Ok(value) => at(&value, whole),
            Err(_) => reply
                .events()
                .iter()
                .map(|event| at(event, piece))
                .collect(),
        }
    }
}

/// A whole answer in a provider's dialect.
pub(crate) fn whole(dialect: &str, text: &str) -> Value {
    match dialect {
        "anthropic" => json!({"id": "msg_1", "type": "message", "role": "assistant", "model": "up",
            "content": [{"type": "text", "text": text}], "stop_reason": "end_turn", "stop_sequence": null,
            "usage": {"input_tokens": 7, "output_tokens": 5}}),
        "gemini" => json!({"candidates": [{"index": 0, "finishReason": "STOP",
            "content": {"role": "model", "parts": [{"text": text}]}}], "modelVersion": "up",
            "usageMetadata": {"promptTokenCount": 7, "candidatesTokenCount": 5, "totalTokenCount": 12}}),
        _ => chat_response(text),
    }
}

/// Events of Anthropic's dialect.
fn events(all: &[Value]) -> String {
    let one = |event: &Value| {
        format!(
            "event: {}\ndata: {event}\n\n",
            event["type"].as_str().unwrap()
        )
    };
    all.iter().map(one).collect()
}

/// One event with a piece of text.
pub(crate) fn piece(dialect: &str, text: &str) -> String {
    match dialect {
        "anthropic" => events(&[json!({"type": "content_block_delta", "index": 0,
            "delta": {"type": "text_delta", "text": text}})]),
        "gemini" => format!(
            "data: {}\n\n",
            json!({"candidates": [{"index": 0, "content": {"role": "model", "parts": [{"text": text}]}}],
                "modelVersion": "up"})
        ),
        _ => delta(text),
    }
}

/// What comes before the first piece of text, and after the last.
pub(crate) fn frame(dialect: &str) -> (String, String) {
    match dialect {
        "anthropic" => (
            events(&[
                json!({"type": "message_start", "message": {"id": "msg_1", "type": "message", "role": "assistant",
                    "model": "up", "content": [], "stop_reason": null, "stop_sequence": null,
                    "usage": {"input_tokens": 7, "output_tokens": 1}}}),
                json!({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}),
            ]),
            events(&[
                json!({"type": "content_block_stop", "index": 0}),
                json!({"type": "message_delta", "delta": {"stop_reason": "end_turn", "stop_sequence": null},
                    "usage": {"output_tokens": 5}}),
                json!({"type": "message_stop"}),
            ]),
        ),
        "gemini" => (
            String::new(),
            format!(
                "data: {}\n\n",
                json!({"candidates": [{"index": 0, "finishReason": "STOP",
                    "content": {"role": "model", "parts": [{"text": ""}]}}], "modelVersion": "up",
                    "usageMetadata": {"promptTokenCount": 7, "candidatesTokenCount": 5, "totalTokenCount": 12}})
            ),
        ),
        _ => (String::new(), stream_end()),
    }
}

/// Whether what was seen asks for a stream.
pub(crate) fn streams(seen: &Seen) -> bool {
    seen.line.contains(":stream") || seen.json()["stream"] == true
}
