//! The mock's answers in Google's dialect: the same words, as `generateContent` gives them.
//!
//! Written from the public description of the API and not with the gateway's own writers, so that an
//! error in those is not repeated here.

use super::answer::{ChatRequest, Events, count_words, words};
use super::behaviour::Behaviour;
use serde_json::{Value, json};

/// A whole answer.
#[must_use]
pub(super) fn whole(request_read: &ChatRequest<'_>, behaviour: &Behaviour) -> Vec<u8> {
    let words = words(request_read.question, request_read.id, behaviour.tokens);
    let part = match request_read.tool {
        None => json!({"text": words.join(" ")}),
        Some(tool) => call(tool),
    };
    let mut answer = frame(request_read, &[part]);
    answer["candidates"][0]["finishReason"] = json!(finish(request_read, behaviour));
    if !behaviour.no_usage {
        answer["usageMetadata"] = usage(request_read, words.len());
    }
    answer.to_string().into_bytes()
}

/// The events of a stream. Nothing marks its end.
#[must_use]
pub(super) fn events(request_read: &ChatRequest<'_>, behaviour: &Behaviour) -> Events {
    let words = words(request_read.question, request_read.id, behaviour.tokens);
    let mut events = Events::default();
    let mut push = |data: &Value| events.push_raw(format!("data: {data}\r\n\r\n").as_bytes());
    let pieces: Vec<Value> = match request_read.tool {
        Some(tool) => vec![call(tool)],
        None => words
            .iter()
            .enumerate()
            .map(|(at, word)| {
                let space = if at == 0 { "" } else { " " };
                json!({"text": format!("{space}{word}")})
            })
            .collect(),
    };
    for (at, piece) in pieces.iter().enumerate() {
        if at == pieces.len() / 2 && behaviour.error_event {
            let error = json!({"code": 503, "message": "the mock was told to fail", "status": "UNAVAILABLE"});
            push(&json!({"error": error}));
            return events;
        }
        push(&frame(request_read, std::slice::from_ref(piece)));
    }
    if behaviour.truncate {
        return events;
    }
    let mut last = frame(request_read, &[json!({"text": ""})]);
    last["candidates"][0]["finishReason"] = json!(finish(request_read, behaviour));
    if !behaviour.no_usage {
        last["usageMetadata"] = usage(request_read, words.len());
    }
    push(&last);
    events
}

/// The answer to a request to count tokens: the words of the question.
#[must_use]
pub(super) fn count(question: &str) -> Vec<u8> {
    let count = json!({"totalTokens": count_words(question)});
    count.to_string().into_bytes()
}

/// The body of an error; of a limit, with the time to wait where Google says it.
#[must_use]
pub(super) fn error(status: u16, retry_after_s: Option<f64>) -> String {
    let name = match status {
        400 => "INVALID_ARGUMENT",
        401 => "UNAUTHENTICATED",
        429 => "RESOURCE_EXHAUSTED",
        503 => "UNAVAILABLE",
        _ => "INTERNAL",
    };
    let mut error = json!({"code": status, "message": "the mock was told to fail", "status": name});
    if let Some(seconds) = retry_after_s {
        error["details"] = json!([{
            "@type": "type.googleapis.com/google.rpc.RetryInfo",
            "retryDelay": format!("{seconds}s"),
        }]);
    }
    json!({"error": error}).to_string()
}

/// A call without an id: Google gives none.
fn call(tool: &str) -> Value {
    json!({"functionCall": {"name": tool, "args": {"city": "Paris"}}})
}

fn frame(request_read: &ChatRequest<'_>, parts: &[Value]) -> Value {
    json!({
        "candidates": [{"content": {"parts": parts, "role": "model"}, "index": 0}],
        "modelVersion": request_read.model,
        "responseId": request_read.id,
    })
}

/// Three tokens of an instruction that nobody sees and two that the cache held; thinking apart.
fn usage(request_read: &ChatRequest<'_>, completion: usize) -> Value {
    let prompt = count_words(request_read.question) + 5;
    json!({
        "promptTokenCount": prompt,
        "cachedContentTokenCount": 2,
        "candidatesTokenCount": completion,
        "thoughtsTokenCount": 4,
        "totalTokenCount": prompt + completion + 4,
    })
}

fn finish<'b>(request_read: &ChatRequest<'_>, behaviour: &'b Behaviour) -> &'b str {
    match (request_read.tool, behaviour.finish.as_str()) {
        (Some(_), _) | (None, "stop") => "STOP",
        (None, "length") => "MAX_TOKENS",
        (None, other) => other,
    }
}
