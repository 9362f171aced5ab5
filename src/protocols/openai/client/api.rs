//! The client API of OpenAI's chat completions.

use crate::error::gateway_error::GatewayError;
use crate::http::sse::write_event;
use crate::protocols::client_api::{ClientApi, ClientRoute, Encoder, ResponseContext};
use crate::protocols::json::document::{Document, Scratch};
use crate::protocols::neutral::request::Request;
use crate::protocols::neutral::response::{ProviderError, Response};
use crate::protocols::neutral::unsupported_fields::UnsupportedFields;
use crate::protocols::openai::client::request;
use crate::protocols::openai::client::response;
use crate::protocols::openai::client::stream;
use crate::protocols::openai::errors;
use crate::protocols::openai::errors::error_envelope;
use crate::protocols::openai::model_list;
use crate::protocols::openai::vocabulary::NAME;
use crate::protocols::request::chat_request::{ChatRequest, read_chat};

pub(crate) struct OpenAi;

impl ClientApi for OpenAi {
    fn name(&self) -> &'static str {
        NAME
    }

    fn route(&self, path: &str) -> Option<ClientRoute> {
        (path == "/v1/chat/completions").then_some(ClientRoute::Chat)
    }

    fn inspect_request(
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

    fn write_response(
        &self,
        response: &Response<'_>,
        response_ctx: &ResponseContext,
        out: &mut Vec<u8>,
    ) {
        response::write(response, response_ctx, out);
    }

    fn write_provider_error(&self, failure: &ProviderError<'_>, out: &mut Vec<u8>) {
        errors::write_provider_error(failure, out);
    }

    fn error_body(&self, error: &GatewayError) -> String {
        error_envelope(error)
    }

    fn write_error_event(&self, error: &GatewayError, out: &mut Vec<u8>) {
        write_event(out, error_envelope(error).as_bytes());
    }

    fn encoder(&self, response_ctx: ResponseContext) -> Box<dyn Encoder> {
        Box::new(stream::Chunks::new(response_ctx))
    }

    fn write_models(&self, names: &mut dyn Iterator<Item = &str>, created: u64) -> Vec<u8> {
        model_list::list(names, created)
    }

    fn write_model(&self, name: &str, created: u64) -> Vec<u8> {
        let mut body = Vec::new();
        model_list::write_model(&mut body, name, created);
        body
    }
}
