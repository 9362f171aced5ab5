//! OpenAI's chat completions as applications speak them.

use crate::error::gateway_error::GatewayError;
use crate::http::sse::write_event;
use crate::protocols::client_api::{ClientApi, ClientRoute, Encoder, ResponseContext};
use crate::protocols::json::document::{Document, Scratch};
use crate::protocols::neutral::request::Request;
use crate::protocols::neutral::response::{Failure, Response, Stop};
use crate::protocols::neutral::unsupported_fields::UnsupportedFields;
use crate::protocols::openai::client::error_envelope::error_envelope;
use crate::protocols::openai::client::request;
use crate::protocols::openai::client::response;
use crate::protocols::openai::client::stream;
use crate::protocols::request::chat_request::{ChatRequest, read_chat};

/// The dialect's name.
pub(crate) const NAME: &str = "openai";

/// The dialect.
pub(crate) struct OpenAi;

impl ClientApi for OpenAi {
    fn name(&self) -> &'static str {
        NAME
    }

    fn ask(&self, path: &str) -> Option<ClientRoute> {
        (path == "/v1/chat/completions").then_some(ClientRoute::Chat)
    }

    fn forwarded_headers(&self) -> &'static [&'static str] {
        &["openai-beta", "openai-organization", "openai-project"]
    }

    fn read_head(
        &self,
        _target: &str,
        body: &[u8],
        scratch: &mut Scratch,
        with_canonical: bool,
    ) -> Result<ChatRequest, GatewayError> {
        read_chat(body, scratch, with_canonical)
    }

    fn read_request<'d>(
        &self,
        document: &Document<'d>,
        unsupported: &mut UnsupportedFields,
    ) -> Result<Request<'d>, GatewayError> {
        request::read(document, unsupported)
    }

    fn write_answer(
        &self,
        response: &Response<'_>,
        response_ctx: &ResponseContext,
        out: &mut Vec<u8>,
    ) {
        response::write(response, response_ctx, out);
    }

    fn write_failure(&self, failure: &Failure<'_>, out: &mut Vec<u8>) {
        response::write_failure(failure, out);
    }

    fn envelope(&self, fault: &GatewayError) -> String {
        error_envelope(fault)
    }

    fn write_fault_event(&self, fault: &GatewayError, out: &mut Vec<u8>) {
        write_event(out, error_envelope(fault).as_bytes());
    }

    fn encoder(&self, response_ctx: ResponseContext) -> Box<dyn Encoder> {
        Box::new(stream::Chunks::new(response_ctx))
    }
}

/// `finish_reason`s, each with what it means; the first of a meaning is the one written.
pub(crate) const FINISH_REASONS: [(&str, Stop); 10] = [
    ("stop", Stop::End),
    ("stop", Stop::Sequence),
    ("length", Stop::Length),
    ("length", Stop::WindowFull),
    ("tool_calls", Stop::ToolCalls),
    ("function_call", Stop::ToolCalls),
    ("content_filter", Stop::Refused),
    ("stop", Stop::Paused),
    // Mistral's (wire facts of its platform documentation).
    ("model_length", Stop::WindowFull),
    // DeepSeek's: it was interrupted for want of resources.
    ("insufficient_system_resource", Stop::Length),
];

/// The `finish_reason` for why an answer ended.
#[must_use]
pub(crate) fn finish_reason(stop: Stop) -> &'static str {
    let found = FINISH_REASONS.iter().find(|(_, meaning)| *meaning == stop);
    found.map_or("stop", |(name, _)| *name)
}
