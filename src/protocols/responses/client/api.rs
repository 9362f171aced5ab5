//! The client API of OpenAI's Responses. A request contains the whole conversation, or continues a response that a
//! provider stores.

use crate::error::code::ErrorCode;
use crate::error::gateway_error::GatewayError;
use crate::protocols::client_api::{ClientApi, ClientRoute, Encoder, ResponseContext};
use crate::protocols::json::document::{Document, Scratch};
use crate::protocols::responses::client::errors::write_error_event;
use crate::protocols::responses::vocabulary::NAME;

use crate::protocols::neutral::request::Request;
use crate::protocols::neutral::response::{ProviderError, Response};
use crate::protocols::neutral::unsupported_fields::UnsupportedFields;
use crate::protocols::openai::errors::{error_envelope, write_provider_error};
use crate::protocols::openai::model_list;
use crate::protocols::request::chat_request::{ChatRequest, read_responses};
use crate::protocols::request::stored_state::State;
use crate::protocols::responses::client::request;
use crate::protocols::responses::client::response;
use crate::protocols::responses::client::stored_responses;
use crate::protocols::responses::client::stream;

pub(crate) struct Responses;

impl ClientApi for Responses {
    fn name(&self) -> &'static str {
        NAME
    }

    fn route(&self, path: &str) -> Option<ClientRoute> {
        (path == "/v1/responses").then_some(ClientRoute::Chat)
    }

    fn owns_path(&self, path: &str) -> bool {
        path.starts_with("/v1/responses")
    }

    /// Responses are never served from the cache, because the client may continue them.
    fn inspect_request(
        &self,
        _target: &str,
        body: &[u8],
        scratch: &mut Scratch,
        _with_canonical: bool,
    ) -> Result<ChatRequest, GatewayError> {
        scratch
            .with_document(body, |document| {
                let mut chat = read_responses(body, document)?;
                let state = stored_responses::read(body, document)?;
                chat.state = (state != State::default()).then(|| Box::new(state));
                Ok(chat)
            })
            .map_err(|bad| GatewayError::new(ErrorCode::InvalidJson, bad.message))?
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

    fn echoed_fields(&self, body: &[u8], scratch: &mut Scratch) -> Vec<u8> {
        let fields = scratch.with_document(body, response::echoed_fields);
        fields.unwrap_or_default()
    }

    fn write_provider_error(&self, failure: &ProviderError<'_>, out: &mut Vec<u8>) {
        write_provider_error(failure, out);
    }

    fn error_body(&self, error: &GatewayError) -> String {
        error_envelope(error)
    }

    fn write_error_event(&self, error: &GatewayError, out: &mut Vec<u8>) {
        let envelope = error_envelope(error);
        write_error_event(error.code.as_str(), &error.message, &envelope, out);
    }

    fn encoder(&self, response_ctx: ResponseContext) -> Box<dyn Encoder> {
        Box::new(stream::Items::new(response_ctx))
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
