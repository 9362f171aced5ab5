//! Cohere's API v2: chat and rerank. No client API has the wire format of its chat, so every chat is translated. A
//! rerank request is forwarded unchanged except for the model's name.

use crate::error::gateway_error::GatewayError;
use crate::protocols::cohere::provider::request;
use crate::protocols::cohere::provider::response;
use crate::protocols::cohere::provider::stream;
use crate::protocols::json::document::Document;
use crate::protocols::neutral::request::Request;
use crate::protocols::neutral::response::{ProviderError, Response};
use crate::protocols::neutral::unsupported_fields::UnsupportedFields;
use crate::protocols::outgoing_request::{OutgoingRequest, UpstreamOperation, post};
use crate::protocols::provider_api::{Decoder, ProviderApi, UnreadableBody};
use crate::signing::auth::BEARER;

/// The API's name; no client API has it.
const NAME: &str = "cohere";

pub(crate) struct Cohere;

impl ProviderApi for Cohere {
    fn name(&self) -> &'static str {
        NAME
    }

    fn native_client_api(&self) -> &'static str {
        NAME
    }

    fn supports(&self, operation: UpstreamOperation) -> bool {
        matches!(
            operation,
            UpstreamOperation::Chat | UpstreamOperation::Rerank
        )
    }

    fn encode(&self, request: &OutgoingRequest<'_>, out: &mut Vec<u8>) {
        let has_v2 = request.base_path.ends_with("/v2");
        let path = match (request.call, has_v2) {
            (UpstreamOperation::Rerank, true) => "/rerank",
            (UpstreamOperation::Rerank, false) => "/v2/rerank",
            (_, true) => "/chat",
            (_, false) => "/v2/chat",
        };
        post(request, path, BEARER, b"", out);
    }

    fn write_request(
        &self,
        request: &Request<'_>,
        model: &str,
        unsupported: &mut UnsupportedFields,
        out: &mut Vec<u8>,
    ) -> Result<(), GatewayError> {
        request::write(request, model, unsupported, out)
    }

    fn read_response<'d>(&self, document: &Document<'d>) -> Result<Response<'d>, UnreadableBody> {
        response::read(document)
    }

    fn read_error<'d>(&self, status: u16, document: &Document<'d>) -> ProviderError<'d> {
        response::read_error(status, document)
    }

    fn decoder(&self) -> Box<dyn Decoder> {
        Box::new(stream::Events::default())
    }

    fn error_event_marker(&self) -> &'static [u8] {
        // The finish reason of a failed response.
        b"\"ERROR"
    }
}
