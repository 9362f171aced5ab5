//! OpenAI's dialect, spoken by OpenAI and every compatible server.
//!
//! The body goes through byte for byte; only the model's name, and the wish for usage, are spliced in.

use super::{Call, Outgoing, Provider, Verdict};
use crate::api::chat::write_body;
use crate::error::Retry;
use crate::http::encode;

/// The dialect.
pub struct OpenAi;

impl Provider for OpenAi {
    fn name(&self) -> &'static str {
        "openai"
    }

    fn encode(&self, request: &Outgoing<'_>, out: &mut Vec<u8>) {
        let operation = match request.call {
            Call::Chat => "/chat/completions",
            Call::Embeddings => "/embeddings",
        };
        // Nothing that frames a message crosses the gateway: this head is built from nothing.
        out.extend_from_slice(b"POST ");
        out.extend_from_slice(request.base_path.as_bytes());
        out.extend_from_slice(operation.as_bytes());
        out.extend_from_slice(b" HTTP/1.1\r\n");
        encode::header(out, "host", request.authority.as_bytes());
        if let Some(key) = request.api_key {
            out.extend_from_slice(b"authorization: Bearer ");
            out.extend_from_slice(key.as_bytes());
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(
            b"content-type: application/json\r\naccept: application/json, text/event-stream\r\naccept-encoding: identity\r\nuser-agent: ringside/",
        );
        out.extend_from_slice(env!("CARGO_PKG_VERSION").as_bytes());
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(request.passed_headers);
        let length = body_length(request);
        encode::content_length(out, length as u64);
        encode::end_head(out);
        let body_start = out.len();
        write_body(
            request.body,
            request.model_range,
            request.usage_edit,
            request.model,
            out,
        );
        debug_assert_eq!(out.len() - body_start, length);
    }

    fn judge(&self, status: u16) -> Verdict {
        let (outcome, retry) = match status {
            200..=299 => ("ok", Retry::Never),
            408 => ("timeout", Retry::OnNextTarget),
            429 => ("rate_limited", Retry::OnNextTarget),
            500..=599 => ("server_error", Retry::OnNextTarget),
            // Our key is at fault, not the request.
            401 | 403 => ("unauthorized", Retry::OnNextTarget),
            _ => ("client_error", Retry::Never),
        };
        Verdict { outcome, retry }
    }
}

/// Length of the body after the edits.
fn body_length(request: &Outgoing<'_>) -> usize {
    let mut name = Vec::with_capacity(request.model.len() + 2);
    crate::api::json::write_string(&mut name, request.model);
    let by_usage = request.usage_edit.map_or(0, |edit| {
        edit.with.len() as isize - edit.range.len() as isize
    });
    let by_model = name.len() as isize - 2 - request.model_range.len() as isize;
    request
        .body
        .len()
        .saturating_add_signed(by_usage + by_model)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::chat::read_chat;
    use crate::api::json::Scratch;

    #[test]
    fn the_request_is_one_message_with_its_exact_length() {
        let body = br#"{"model":"a","stream":true,"messages":[{"role":"user","content":"hi"}]}"#;
        let chat = read_chat(body, &mut Scratch::default(), false).unwrap();
        let mut out = Vec::new();
        OpenAi.encode(
            &Outgoing {
                call: Call::Chat,
                body,
                model_range: &chat.model_range,
                usage_edit: chat.usage_edit.as_ref(),
                model: "a \"quoted\" model",
                base_path: "/v1",
                authority: "api.example:1",
                api_key: Some("sk-1"),
                passed_headers: b"x-a: b\r\n",
            },
            &mut out,
        );
        let text = String::from_utf8(out).unwrap();
        let (head, sent) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("POST /v1/chat/completions HTTP/1.1\r\nhost: api.example:1\r\nauthorization: Bearer sk-1\r\n"));
        assert!(head.contains("\r\nx-a: b\r\n"));
        let lower = head.to_ascii_lowercase();
        assert!(
            lower.ends_with(&format!("content-length: {}", sent.len())),
            "{lower}"
        );
        let value: serde_json::Value = serde_json::from_str(sent).unwrap();
        assert_eq!(value["model"], "a \"quoted\" model");
    }
}
