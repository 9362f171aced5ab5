//! Passthrough endpoints: endpoints with a model in the body, and files, batches and `/providers/{name}/…` of one
//! provider. Bytes are unchanged, limits and permissions hold, and hang-ups end both sides.

mod bodies;
mod providers;

use crate::harness::*;
use serde_json::{Value, json};

/// Bytes that are neither text nor JSON.
fn sound() -> Vec<u8> {
    (0..40_000_u32).map(|at| (at * 7 % 256) as u8).collect()
}

fn form(model: &str) -> Vec<u8> {
    let mut out = format!(
        "--b-1\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\n{model}\r\n--b-1\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.wav\"\r\nContent-Type: audio/wav\r\n\r\n"
    )
    .into_bytes();
    out.extend_from_slice(&sound());
    out.extend_from_slice(b"\r\n--b-1--\r\n");
    out
}

const FORM: (&str, &str) = ("content-type", "multipart/form-data; boundary=\"b-1\"");
const JSON: (&str, &str) = ("content-type", "application/json");

fn uncached(config: &str) -> String {
    format!("[cache]\nenabled = false\n{config}")
}

fn send(gateway: &Gateway, head: &str, headers: &str, body: &[u8]) -> Response {
    let mut client = gateway.connect();
    let length = body.len();
    let mut out =
        format!("{head} HTTP/1.1\r\nhost: localhost\r\n{headers}content-length: {length}\r\n\r\n")
            .into_bytes();
    out.extend_from_slice(body);
    client.send(&out);
    client.response()
}

/// Responds with the request line, the length of the body, and usage.
fn mirror() -> Upstream {
    Upstream::start(|seen, stream| {
        let body = json!({"line": seen.line, "bytes": seen.message.body.len(),
            "usage": {"input_tokens": 7, "output_tokens": 5, "total_tokens": 12}});
        write_json(stream, 200, &body)
    })
}
