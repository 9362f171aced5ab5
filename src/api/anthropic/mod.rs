//! Anthropic's Messages as applications speak them.

mod answer;
mod request;
mod stream;

use super::canonical::canonical;
use super::chat::{ChatRequest, read_plain};
use super::face::{About, Ask, Encoder, Face};
use super::json::{Document, Scratch};
use super::neutral::{Answer, Failure, Losses, Request, Stop};
use super::write::{key, text};
use crate::error::Fault;

pub use answer::{is_object, write_input};
pub use request::CACHE_MARKER;

/// The dialect's name.
pub const NAME: &str = "anthropic";

/// The dialect.
pub struct Anthropic;

impl Face for Anthropic {
    fn name(&self) -> &'static str {
        NAME
    }

    fn ask(&self, path: &str) -> Option<Ask> {
        match path {
            "/v1/messages" => Some(Ask::Chat),
            "/v1/messages/count_tokens" => Some(Ask::CountTokens),
            _ => None,
        }
    }

    fn owns(&self, path: &str) -> bool {
        path.starts_with("/v1/messages")
    }

    fn passed_headers(&self) -> &'static [&'static str] {
        &["anthropic-version", "anthropic-beta"]
    }

    fn read_head(
        &self,
        _target: &str,
        body: &[u8],
        scratch: &mut Scratch,
        with_canonical: bool,
    ) -> Result<ChatRequest, Fault> {
        scratch
            .with_document(body, |document| {
                let mut chat = read_plain(body, document)?;
                if with_canonical {
                    let mut form = canonical(document);
                    // The same fields in another dialect are another request.
                    form.extend_scope(NAME.as_bytes());
                    chat.canonical = Some(form);
                }
                Ok(chat)
            })
            .map_err(|bad| Fault::client(400, "invalid_json", bad.message))?
    }

    fn read_request<'d>(
        &self,
        document: &Document<'d>,
        losses: &mut Losses,
    ) -> Result<Request<'d>, Fault> {
        request::read(document, losses)
    }

    fn write_answer(&self, answer: &Answer<'_>, about: &About, out: &mut Vec<u8>) {
        answer::write(answer, about, out);
    }

    fn write_failure(&self, failure: &Failure<'_>, out: &mut Vec<u8>) {
        answer::write_failure(failure, out);
    }

    fn envelope(&self, fault: &Fault) -> String {
        let mut out = b"{\"type\":\"error\",\"error\":{".to_vec();
        text(&mut out, "type", error_type(fault.status));
        text(&mut out, "message", &fault.message);
        text(&mut out, "code", fault.code);
        key(&mut out, "param");
        match &fault.param {
            Some(param) => super::json::write_string(&mut out, param),
            None => out.extend_from_slice(b"null"),
        }
        out.extend_from_slice(b"}}");
        String::from_utf8_lossy(&out).into_owned()
    }

    fn write_fault_event(&self, fault: &Fault, out: &mut Vec<u8>) {
        out.extend_from_slice(b"event: error\ndata: ");
        out.extend_from_slice(self.envelope(fault).as_bytes());
        out.extend_from_slice(b"\n\n");
    }

    fn encoder(&self, about: About) -> Box<dyn Encoder> {
        Box::new(stream::Blocks::new(about))
    }
}

/// `stop_reason`s, each with what it means.
pub const STOP_REASONS: [(&str, Stop); 7] = [
    ("end_turn", Stop::End),
    ("stop_sequence", Stop::Sequence),
    ("max_tokens", Stop::Length),
    ("model_context_window_exceeded", Stop::WindowFull),
    ("tool_use", Stop::ToolCalls),
    ("refusal", Stop::Refused),
    ("pause_turn", Stop::Paused),
];

/// Anthropic's error type for a status (its API's list of errors).
#[must_use]
pub fn error_type(status: u16) -> &'static str {
    match status {
        401 => "authentication_error",
        402 => "billing_error",
        403 => "permission_error",
        404 => "not_found_error",
        413 => "request_too_large",
        429 => "rate_limit_error",
        400..=499 => "invalid_request_error",
        504 => "timeout_error",
        529 => "overloaded_error",
        _ => "api_error",
    }
}
