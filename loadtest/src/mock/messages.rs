//! The mock's answers in Anthropic's dialect: the same words, in Messages.
//!
//! Written from the public description of the API and not with the gateway's own writers, so that an
//! error in those is not repeated here.

use super::answer::{ChatRequest, Events, count_words, words};
use super::behaviour::Behaviour;
use serde_json::{Value, json};

/// The dialect's path.
pub(super) const PATH: &str = "/v1/messages";

/// A whole Message.
#[must_use]
pub(super) fn whole(request_read: &ChatRequest<'_>, behaviour: &Behaviour) -> Vec<u8> {
    let words = words(request_read.question, request_read.id, behaviour.tokens);
    let content = match request_read.tool {
        None => json!({"type": "text", "text": words.join(" ")}),
        Some(tool) => {
            json!({"type": "tool_use", "id": "toolu_1", "name": tool, "input": {"city": "Paris"}})
        }
    };
    let mut message = frame(request_read);
    message["content"] = json!([content]);
    message["stop_reason"] = json!(stop_reason(request_read, behaviour));
    message["usage"] = if behaviour.no_usage {
        json!({"input_tokens": 0, "output_tokens": 0})
    } else {
        json!({
            "input_tokens": count_words(request_read.question),
            "cache_creation_input_tokens": 3,
            "cache_read_input_tokens": 2,
            "output_tokens": words.len(),
        })
    };
    message.to_string().into_bytes()
}

/// The events of a stream.
#[must_use]
pub(super) fn events(request_read: &ChatRequest<'_>, behaviour: &Behaviour) -> Events {
    let words = words(request_read.question, request_read.id, behaviour.tokens);
    let mut events = Events::default();
    let mut push = |name: &str, mut data: Value| {
        data["type"] = json!(name);
        events.push_raw(format!("event: {name}\ndata: {data}\n\n").as_bytes());
    };
    let mut message = frame(request_read);
    message["usage"] = json!({
        "input_tokens": count_words(request_read.question),
        "cache_creation_input_tokens": 3,
        "cache_read_input_tokens": 2,
        "output_tokens": 1,
    });
    push("message_start", json!({"message": message}));
    push("ping", json!({}));
    let block = match request_read.tool {
        None => json!({"type": "text", "text": ""}),
        Some(tool) => json!({"type": "tool_use", "id": "toolu_1", "name": tool, "input": {}}),
    };
    push(
        "content_block_start",
        json!({"index": 0, "content_block": block}),
    );
    let pieces: Vec<Value> = match request_read.tool {
        Some(_) => ["", "{\"city\":", " \"Paris\"}"]
            .map(|piece| json!({"type": "input_json_delta", "partial_json": piece}))
            .to_vec(),
        None => words
            .iter()
            .enumerate()
            .map(|(at, word)| {
                let space = if at == 0 { "" } else { " " };
                json!({"type": "text_delta", "text": format!("{space}{word}")})
            })
            .collect(),
    };
    for (at, piece) in pieces.iter().enumerate() {
        if at == pieces.len() / 2 && behaviour.error_event {
            let error = json!({"type": "overloaded_error", "message": "the mock was told to fail"});
            push("error", json!({"error": error}));
            return events;
        }
        push("content_block_delta", json!({"index": 0, "delta": piece}));
    }
    if behaviour.truncate {
        return events;
    }
    push("content_block_stop", json!({"index": 0}));
    let reason = stop_reason(request_read, behaviour);
    let delta = json!({"stop_reason": reason, "stop_sequence": null});
    push(
        "message_delta",
        json!({"delta": delta, "usage": {"output_tokens": words.len()}}),
    );
    if !behaviour.no_done {
        push("message_stop", json!({}));
    }
    events
}

/// The answer to a request to count tokens: the words of the question.
#[must_use]
pub(super) fn count(question: &str) -> Vec<u8> {
    let count = json!({"input_tokens": count_words(question)});
    count.to_string().into_bytes()
}

/// The body of an error.
#[must_use]
pub(super) fn error(status: u16) -> String {
    let kind = match status {
        400 => "invalid_request_error",
        401 => "authentication_error",
        429 => "rate_limit_error",
        529 => "overloaded_error",
        _ => "api_error",
    };
    let error = json!({"type": kind, "message": "the mock was told to fail"});
    json!({"type": "error", "error": error, "request_id": "req_mock"}).to_string()
}

fn frame(request_read: &ChatRequest<'_>) -> Value {
    json!({
        "id": format!("msg_{}", request_read.id),
        "type": "message",
        "role": "assistant",
        "model": request_read.model,
        "content": [],
        "stop_reason": null,
        "stop_sequence": null,
    })
}

fn stop_reason<'b>(request_read: &ChatRequest<'_>, behaviour: &'b Behaviour) -> &'b str {
    match (request_read.tool, behaviour.finish.as_str()) {
        (Some(_), _) => "tool_use",
        (None, "stop") => "end_turn",
        (None, "length") => "max_tokens",
        (None, other) => other,
    }
}
