//! OpenAI's Responses at OpenAI and some compatible servers. A request in this wire format is forwarded byte for byte
//! except for the model's name.

use crate::error::gateway_error::GatewayError;
use crate::protocols::json::document::Document;
use crate::protocols::neutral::request::Request;
use crate::protocols::neutral::response::{ProviderError, Response};
use crate::protocols::neutral::unsupported_fields::UnsupportedFields;
use crate::protocols::outgoing_request::{OutgoingRequest, UpstreamOperation, post};
use crate::protocols::provider_api::{Decoder, ProviderApi, UnreadableBody};
use crate::protocols::responses::provider::request;
use crate::protocols::responses::provider::response;
use crate::protocols::responses::provider::stream;
use crate::protocols::responses::vocabulary;
use crate::signing::auth::BEARER;

pub(crate) struct Responses;

impl ProviderApi for Responses {
    fn name(&self) -> &'static str {
        vocabulary::NAME
    }

    fn native_client_api(&self) -> &'static str {
        vocabulary::NAME
    }

    fn supports(&self, operation: UpstreamOperation) -> bool {
        operation == UpstreamOperation::Chat
    }

    fn encode(&self, request: &OutgoingRequest<'_>, out: &mut Vec<u8>) {
        post(request, "/responses", BEARER, b"", out);
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
        Box::new(stream::Items::default())
    }
}
