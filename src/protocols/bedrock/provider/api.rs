//! AWS Bedrock's wire format: Converse and ConverseStream (API model of `bedrock-runtime`, 2023-09-30).
//!
//! The path names the model. No client API has this wire format, so every request is translated. A stream arrives in
//! AWS's event stream encoding.

use crate::error::gateway_error::GatewayError;
use crate::http::percent::push_escaped;
use crate::protocols::bedrock::provider::request;
use crate::protocols::bedrock::provider::response;
use crate::protocols::bedrock::provider::stream;
use crate::protocols::bedrock::provider::vocabulary::MODEL_FAILED;
use crate::protocols::json::document::Document;
use crate::protocols::neutral::request::Request;
use crate::protocols::neutral::response::{ProviderError, Response};
use crate::protocols::neutral::unsupported_fields::UnsupportedFields;
use crate::protocols::outgoing_request::{OutgoingRequest, UpstreamOperation, post_accepting};
use crate::protocols::provider_api::{Decoder, ProviderApi, UnreadableBody};
use crate::protocols::status_class::StatusClass;
use crate::signing::auth::BEARER;

/// The API's name; no client API has it.
const NAME: &str = "bedrock";

pub(crate) struct Bedrock;

impl ProviderApi for Bedrock {
    fn name(&self) -> &'static str {
        NAME
    }

    fn native_client_api(&self) -> &'static str {
        NAME
    }

    fn supports(&self, operation: UpstreamOperation) -> bool {
        operation == UpstreamOperation::Chat
    }

    fn encode(&self, request: &OutgoingRequest<'_>, out: &mut Vec<u8>) {
        let mut path = String::with_capacity(64);
        path.push_str("/model/");
        // Escaped once; the slashes of an ARN are part of the name.
        push_escaped(request.model, b"", &mut path);
        let accept = if request.streams {
            path.push_str("/converse-stream");
            "application/vnd.amazon.eventstream, application/json"
        } else {
            path.push_str("/converse");
            "application/json"
        };
        post_accepting(request, &path, BEARER, b"", accept, out);
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
        Box::new(stream::Messages::default())
    }

    fn error_event_marker(&self) -> &'static [u8] {
        // A header of a message marks an error, so every message is inspected.
        b""
    }

    fn classify_status(&self, status: u16) -> StatusClass {
        match status {
            MODEL_FAILED => StatusClass::ServerError,
            status => StatusClass::of(status),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::class::Retry;
    use crate::protocols::outgoing_request::Body;
    use crate::signing::auth::Auth;
    use crate::signing::sigv4::{AmzDate, AwsKeys, Scope};

    fn head(model: &str, streams: bool, auth: Auth<'_>) -> String {
        let mut out = Vec::new();
        let request = OutgoingRequest {
            call: UpstreamOperation::Chat,
            streams,
            body: Body::Written(b"{}"),
            model,
            base_path: "",
            api_version: None,
            authority: "bedrock-runtime.eu-central-1.amazonaws.com",
            auth,
            forwarded_headers: b"",
        };
        Bedrock.encode(&request, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn the_path_has_the_models_name_escaped_once() {
        let auth = Auth::Key("bedrock-api-key-1");
        for (model, streams, path) in [
            (
                "anthropic.claude-3-5-sonnet-20241022-v2:0",
                false,
                "/model/anthropic.claude-3-5-sonnet-20241022-v2%3A0/converse",
            ),
            (
                "arn:aws:bedrock:eu-west-1:123456789012:application-inference-profile/ab1",
                true,
                "/model/arn%3Aaws%3Abedrock%3Aeu-west-1%3A123456789012%3Aapplication-inference-profile%2Fab1/converse-stream",
            ),
        ] {
            let head = head(model, streams, auth);
            assert!(
                head.starts_with(&format!("POST {path} HTTP/1.1\r\n")),
                "{head}"
            );
            assert!(head.contains("\r\nauthorization: Bearer bedrock-api-key-1\r\n"));
            let stream = "accept: application/vnd.amazon.eventstream";
            assert_eq!(head.contains(stream), streams);
        }
    }

    #[test]
    fn a_signature_replaces_the_key() {
        let keys = AwsKeys::new("AKIDEXAMPLE", "secret", Some("token"));
        let auth = Auth::Aws {
            keys: &keys,
            scope: Scope {
                region: "eu-central-1",
                service: "bedrock",
            },
            at: AmzDate::from_unix(1_700_000_000),
        };
        let head = head("amazon.nova-lite-v1:0", false, auth);
        assert!(head.contains("/20231114/eu-central-1/bedrock/aws4_request, SignedHeaders=content-type;host;x-amz-date;x-amz-security-token, Signature="), "{head}");
        assert!(head.contains("\r\nx-amz-security-token: token\r\n"));
    }

    #[test]
    fn a_model_error_is_a_server_error() {
        assert_eq!(Bedrock.classify_status(424).retry(), Retry::OnNextTarget);
        assert_eq!(Bedrock.classify_status(429), StatusClass::RateLimited);
        assert_eq!(Bedrock.classify_status(400).retry(), Retry::Never);
    }
}
