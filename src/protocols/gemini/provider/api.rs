//! Google's Gemini on Google AI Studio and Vertex AI. A request in this wire format is forwarded byte for byte,
//! because the path names the model.

use crate::error::gateway_error::GatewayError;
use crate::protocols::google_cloud::KEY_HEADER;
use crate::protocols::google_cloud::write_model_path;

use crate::protocols::gemini::provider::request;
use crate::protocols::gemini::provider::response;
use crate::protocols::gemini::provider::stream;
use crate::protocols::gemini::vocabulary;
use crate::protocols::json::document::Document;
use crate::protocols::neutral::request::Request;
use crate::protocols::neutral::response::{ProviderError, Response};
use crate::protocols::neutral::unsupported_fields::UnsupportedFields;
use crate::protocols::outgoing_request::{OutgoingRequest, UpstreamOperation, post};
use crate::protocols::provider_api::{Decoder, ErrorDetail, ProviderApi, UnreadableBody};
use crate::signing::auth::KeyHeader;

/// The API of one of the two services.
pub(crate) struct Gemini {
    name: &'static str,
    /// The path segment before a model's name.
    models: &'static str,
}

/// Google AI Studio; the base URL ends with the API version.
pub(crate) const AI_STUDIO: Gemini = Gemini {
    name: "gemini",
    models: "/models/",
};

/// Vertex AI; the base URL ends with the location: `…/v1/projects/{project}/locations/{location}`.
pub(crate) const VERTEX: Gemini = Gemini {
    name: "vertex",
    models: "/publishers/google/models/",
};

impl ProviderApi for Gemini {
    fn name(&self) -> &'static str {
        self.name
    }

    fn native_client_api(&self) -> &'static str {
        vocabulary::NAME
    }

    fn supports(&self, operation: UpstreamOperation) -> bool {
        matches!(
            operation,
            UpstreamOperation::Chat | UpstreamOperation::CountTokens
        )
    }

    fn key_header(&self) -> KeyHeader {
        KEY_HEADER
    }

    fn encode(&self, request: &OutgoingRequest<'_>, out: &mut Vec<u8>) {
        let mut path = String::with_capacity(self.models.len() + request.model.len() + 40);
        write_model_path(self.models, request.model, &mut path);
        path.push_str(match (request.call, request.streams) {
            (UpstreamOperation::CountTokens, _) => ":countTokens",
            // Without `alt=sse` the stream is a JSON array, which cannot be read element by element.
            (_, true) => ":streamGenerateContent?alt=sse",
            (_, false) => ":generateContent",
        });
        post(request, &path, KEY_HEADER, b"", out);
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
        Box::new(stream::Chunks::default())
    }

    fn read_error_detail(&self, status: u16, body: &[u8]) -> ErrorDetail {
        response::read_error_detail(status, body)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocols::outgoing_request::Body;
    use crate::signing::auth::Auth;

    fn head(
        dialect: &Gemini,
        call: UpstreamOperation,
        streams: bool,
        model: &str,
        auth: Auth<'_>,
    ) -> String {
        let mut out = Vec::new();
        let request = OutgoingRequest {
            call,
            streams,
            body: Body::Written(b"{}"),
            model,
            base_path: "/base",
            api_version: None,
            authority: "api.example",
            auth,
            forwarded_headers: b"",
        };
        dialect.encode(&request, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn the_path_names_the_model() {
        let key = Auth::Key("AIza-1");
        for (dialect, call, streams, model, path) in [
            (
                &AI_STUDIO,
                UpstreamOperation::Chat,
                false,
                "m-1",
                "/models/m-1:generateContent",
            ),
            (
                &AI_STUDIO,
                UpstreamOperation::Chat,
                true,
                "m-1",
                "/models/m-1:streamGenerateContent?alt=sse",
            ),
            (
                &AI_STUDIO,
                UpstreamOperation::CountTokens,
                false,
                "m",
                "/models/m:countTokens",
            ),
            (
                &AI_STUDIO,
                UpstreamOperation::Chat,
                false,
                "tunedModels/a b?c",
                "/tunedModels/a%20b%3Fc:generateContent",
            ),
            (
                &VERTEX,
                UpstreamOperation::Chat,
                false,
                "m@1",
                "/publishers/google/models/m@1:generateContent",
            ),
            (
                &VERTEX,
                UpstreamOperation::Chat,
                false,
                "endpoints/7",
                "/endpoints/7:generateContent",
            ),
        ] {
            let head = head(dialect, call, streams, model, key);
            let first = format!("POST /base{path} HTTP/1.1\r\n");
            assert!(head.starts_with(&first), "{head}");
            assert!(head.contains("\r\nx-goog-api-key: AIza-1\r\n"), "{head}");
        }
    }

    #[test]
    fn a_token_is_sent_as_a_bearer_token() {
        let head = head(
            &VERTEX,
            UpstreamOperation::Chat,
            false,
            "m",
            Auth::Bearer("ya29.x"),
        );
        assert!(head.contains("\r\nauthorization: Bearer ya29.x\r\n"));
        assert!(!head.contains("x-goog-api-key"));
    }
}
