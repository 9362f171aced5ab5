//! Anthropic's Messages API. A request that the client sends in this wire format is forwarded byte for byte except
//! for the model's name. Vertex AI has the same wire format with the model in the path (`vertex.rs`).

use crate::error::gateway_error::GatewayError;
use crate::protocols::anthropic::provider::request;
use crate::protocols::anthropic::provider::request::FirstField;
use crate::protocols::anthropic::provider::response;
use crate::protocols::anthropic::provider::stream;
use crate::protocols::anthropic::vocabulary;
use crate::protocols::json::document::Document;
use crate::protocols::neutral::request::Request;
use crate::protocols::neutral::response::{ProviderError, Response};
use crate::protocols::neutral::unsupported_fields::UnsupportedFields;
use crate::protocols::outgoing_request::{OutgoingRequest, UpstreamOperation, post};
use crate::protocols::provider_api::{Decoder, ProviderApi, UnreadableBody};
use crate::signing::auth::KeyHeader;
use memchr::memmem;

/// The header line with [`vocabulary::VERSION`].
const VERSION: &[u8] = b"anthropic-version: 2023-06-01\r\n";

/// The header that carries API keys.
const KEY_HEADER: KeyHeader = KeyHeader {
    name: "x-api-key",
    prefix: "",
};

pub(crate) struct Anthropic;

impl ProviderApi for Anthropic {
    fn name(&self) -> &'static str {
        "anthropic"
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
        let has_v1 = request.base_path.ends_with("/v1");
        let path = match (request.call, has_v1) {
            (UpstreamOperation::CountTokens, true) => "/messages/count_tokens",
            (UpstreamOperation::CountTokens, false) => "/v1/messages/count_tokens",
            (_, true) => "/messages",
            (_, false) => "/v1/messages",
        };
        let names_version =
            memmem::find(request.forwarded_headers, b"anthropic-version:").is_some();
        let version: &[u8] = if names_version { b"" } else { VERSION };
        post(request, path, KEY_HEADER, version, out);
    }

    fn write_request(
        &self,
        request: &Request<'_>,
        model: &str,
        unsupported: &mut UnsupportedFields,
        out: &mut Vec<u8>,
    ) -> Result<(), GatewayError> {
        let first = FirstField {
            name: "model",
            value: model,
        };
        request::write(request, first, unsupported, out)
    }

    fn read_response<'d>(&self, document: &Document<'d>) -> Result<Response<'d>, UnreadableBody> {
        response::read(document)
    }

    fn read_error<'d>(&self, status: u16, document: &Document<'d>) -> ProviderError<'d> {
        response::read_error(status, document)
    }

    fn decoder(&self) -> Box<dyn Decoder> {
        Box::new(stream::Blocks::default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocols::outgoing_request::Body;
    use crate::signing::auth::Auth;

    fn head(base_path: &str, call: UpstreamOperation, forwarded_headers: &[u8]) -> String {
        let mut out = Vec::new();
        let request = OutgoingRequest {
            call,
            streams: false,
            body: Body::Written(b"{}"),
            model: "m",
            base_path,
            api_version: None,
            authority: "api.example",
            auth: Auth::Key("sk-ant-1"),
            forwarded_headers,
        };
        Anthropic.encode(&request, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn the_base_url_may_contain_v1() {
        for (base, call, path) in [
            ("", UpstreamOperation::Chat, "/v1/messages"),
            ("/v1", UpstreamOperation::Chat, "/v1/messages"),
            (
                "/x/v1",
                UpstreamOperation::CountTokens,
                "/x/v1/messages/count_tokens",
            ),
            (
                "/x",
                UpstreamOperation::CountTokens,
                "/x/v1/messages/count_tokens",
            ),
        ] {
            let head = head(base, call, b"");
            assert!(
                head.starts_with(&format!("POST {path} HTTP/1.1\r\n")),
                "{head}"
            );
        }
    }

    #[test]
    fn the_version_is_the_clients_or_the_default() {
        assert_eq!(
            VERSION,
            format!(
                "{}: {}\r\n",
                vocabulary::VERSION_HEADER,
                vocabulary::VERSION
            )
            .as_bytes()
        );
        let head_without = head("", UpstreamOperation::Chat, b"");
        assert!(
            head_without.contains("\r\nx-api-key: sk-ant-1\r\nanthropic-version: 2023-06-01\r\n")
        );
        let head_with = head(
            "",
            UpstreamOperation::Chat,
            b"anthropic-version: 2030-01-01\r\n",
        );
        assert_eq!(head_with.matches("anthropic-version").count(), 1);
    }
}
