//! Configuration sections, requests and responses that many tests use.

use serde_json::{Value, json};
use std::io::Write;
use std::net::TcpStream;

pub(crate) fn provider(name: &str, address: &str, more: &str) -> String {
    format!("[[providers]]\nname = \"{name}\"\nbase_url = \"http://{address}/v1\"\n{more}\n")
}

/// A model with targets at `providers`, in this order.
pub(crate) fn model(name: &str, providers: &[&str]) -> String {
    let targets: Vec<String> = providers
        .iter()
        .map(|provider| {
            format!("{{ provider = \"{provider}\", model = \"{name}-at-{provider}\" }}")
        })
        .collect();
    format!(
        "[[models]]\nname = \"{name}\"\ntargets = [{}]\n",
        targets.join(", ")
    )
}

pub(crate) fn chat_response(content: &str) -> Value {
    json!({
        "id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "up-model",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": content, "refusal": null},
                     "logprobs": null, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 7, "completion_tokens": 5, "total_tokens": 12},
    })
}

pub(crate) fn write_json(stream: &mut TcpStream, status: u16, body: &Value) -> bool {
    write_with(
        stream,
        status,
        "application/json",
        body.to_string().as_bytes(),
    )
}

pub(crate) fn write_with(stream: &mut TcpStream, status: u16, kind: &str, body: &[u8]) -> bool {
    let mut out = format!(
        "HTTP/1.1 {status} X\r\ncontent-type: {kind}\r\nx-request-id: up-1\r\ncontent-length: {}\r\n\r\n",
        body.len()
    )
    .into_bytes();
    out.extend_from_slice(body);
    stream.write_all(&out).is_ok()
}

pub(crate) fn stream_head() -> &'static [u8] {
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
}

pub(crate) fn chunk(text: &str) -> Vec<u8> {
    format!("{:x}\r\n{text}\r\n", text.len()).into_bytes()
}

pub(crate) fn delta(content: &str) -> String {
    let event = json!({"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "up-model",
        "choices": [{"index": 0, "delta": {"content": content}, "finish_reason": null}], "usage": null});
    format!("data: {event}\n\n")
}

pub(crate) fn stream_end() -> String {
    let finish = json!({"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "up-model",
        "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}], "usage": null});
    let usage = json!({"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "up-model",
        "choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 5, "total_tokens": 12}});
    format!("data: {finish}\n\ndata: {usage}\n\ndata: [DONE]\n\n")
}

/// A complete stream, a word per event.
pub(crate) fn write_stream(stream: &mut TcpStream, content: &str) -> bool {
    let mut out = stream_head().to_vec();
    for word in content.split_inclusive(' ') {
        out.extend_from_slice(&chunk(&delta(word)));
    }
    out.extend_from_slice(&chunk(&stream_end()));
    out.extend_from_slice(b"0\r\n\r\n");
    stream.write_all(&out).is_ok()
}

/// A chat request for model `m`.
pub(crate) fn ask(question: &str) -> Value {
    json!({"model": "m", "messages": [{"role": "user", "content": question}]})
}

/// The same, streamed.
pub(crate) fn ask_stream(question: &str) -> Value {
    let mut body = ask(question);
    body["stream"] = true.into();
    body
}

/// `value` with `key` set to `to`.
pub(crate) fn with(mut value: Value, key: &str, to: Value) -> Value {
    value[key] = to;
    value
}
