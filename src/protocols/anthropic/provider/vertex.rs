//! Claude on Vertex AI: Messages with the model in the path, and a version in the body instead of the model's name
//! (Anthropic's page on Vertex AI, and its SDK).

use crate::error::gateway_error::GatewayError;
use crate::protocols::anthropic::provider::request;
use crate::protocols::anthropic::provider::request::FirstField;
use crate::protocols::anthropic::provider::response;
use crate::protocols::anthropic::provider::stream;
use crate::protocols::anthropic::vocabulary;
use crate::protocols::google_cloud::KEY_HEADER;
use crate::protocols::google_cloud::write_model_path;
use crate::protocols::json::document::Document;
use crate::protocols::json::splice::{after_brace, apply};
use crate::protocols::neutral::request::Request;
use crate::protocols::neutral::response::{ProviderError, Response};
use crate::protocols::neutral::unsupported_fields::UnsupportedFields;
use crate::protocols::outgoing_request::{Body, OutgoingRequest, UpstreamOperation, post};
use crate::protocols::provider_api::{Decoder, ProviderApi, UnreadableBody};
use crate::signing::auth::KeyHeader;
use std::ops::Range;

/// The version field that Vertex AI requires.
const VERSION: FirstField<'static> = FirstField {
    name: "anthropic_version",
    value: "vertex-2023-10-16",
};

/// The path segment before a model's name.
const MODELS: &str = "/publishers/anthropic/models/";

/// The API. The base URL ends with the location: `…/v1/projects/{project}/locations/{location}`.
pub(crate) struct Vertex;

impl ProviderApi for Vertex {
    fn name(&self) -> &'static str {
        "vertex-anthropic"
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
        let mut path = String::with_capacity(MODELS.len() + request.model.len() + 20);
        let (model, action) = match (request.call, request.streams) {
            // A request to count tokens names the model in the body.
            (UpstreamOperation::CountTokens, _) => ("count-tokens", ":rawPredict"),
            (_, true) => (request.model, ":streamRawPredict"),
            (_, false) => (request.model, ":rawPredict"),
        };
        write_model_path(MODELS, model, &mut path);
        path.push_str(action);
        let body = body(request);
        let request = OutgoingRequest {
            body: Body::Written(&body),
            ..*request
        };
        post(&request, &path, KEY_HEADER, b"", out);
    }

    fn write_request(
        &self,
        request: &Request<'_>,
        _model: &str,
        unsupported: &mut UnsupportedFields,
        out: &mut Vec<u8>,
    ) -> Result<(), GatewayError> {
        request::write(request, VERSION, unsupported, out)
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

/// The body with the version field instead of the model, or next to the model if tokens are counted.
fn body(request: &OutgoingRequest<'_>) -> Vec<u8> {
    let mut out = Vec::with_capacity(request.body.len(request.model) + 64);
    let Body::Spliced {
        bytes, model_range, ..
    } = &request.body
    else {
        request.body.append(request.model, &mut out);
        return out;
    };
    let FirstField { name, value } = VERSION;
    let version = format!("\"{name}\":\"{value}\"");
    if request.call == UpstreamOperation::CountTokens {
        let mut plain = Vec::with_capacity(bytes.len() + 64);
        request.body.append(request.model, &mut plain);
        let at = after_brace(&plain).unwrap_or_default();
        let version = version + ",";
        apply(&plain, [(&(at..at), version.as_bytes())], &mut out);
    } else {
        let member = member_of(bytes, model_range);
        apply(bytes, [(&member, version.as_bytes())], &mut out);
    }
    out
}

/// The range of the member whose string value is at `value`, including the key and the quotes.
fn member_of(json: &[u8], value: &Range<usize>) -> Range<usize> {
    let quote_before = |end: usize| {
        let before = json.get(..end).unwrap_or_default();
        memchr::memrchr(b'"', before).unwrap_or_default()
    };
    // There are no other quotes between key and value, or inside this key.
    let key_end = quote_before(value.start.saturating_sub(1));
    quote_before(key_end)..(value.end + 1).min(json.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signing::auth::Auth;

    fn sent(json: &str, call: UpstreamOperation, streams: bool) -> (String, String) {
        let start = json.find("claude").unwrap();
        let mut out = Vec::new();
        let request = OutgoingRequest {
            call,
            streams,
            body: Body::Spliced {
                bytes: json.as_bytes(),
                model_range: &(start..start + "claude".len()),
                usage_edit: None,
            },
            model: "claude-x@1",
            base_path: "/v1/projects/p/locations/l",
            api_version: None,
            authority: "h",
            auth: Auth::Bearer("t"),
            forwarded_headers: b"anthropic-beta: b\r\n",
        };
        Vertex.encode(&request, &mut out);
        let text = String::from_utf8(out).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        let length = format!("content-length: {}", body.len());
        assert!(head.contains(&length), "{head}");
        (head.to_owned(), body.to_owned())
    }

    #[test]
    fn the_model_moves_into_the_path_and_nothing_else_changes() {
        for (json, body) in [
            (
                r#"{ "max_tokens" : 1.0, "model" : "claude" , "x":"\"model\":\"y\""}"#,
                r#"{ "max_tokens" : 1.0, "anthropic_version":"vertex-2023-10-16" , "x":"\"model\":\"y\""}"#,
            ),
            (
                r#"{"mod\u0065l":"claude"}"#,
                r#"{"anthropic_version":"vertex-2023-10-16"}"#,
            ),
        ] {
            let (head, sent_body) = sent(json, UpstreamOperation::Chat, true);
            assert_eq!(sent_body, body);
            let first = "POST /v1/projects/p/locations/l/publishers/anthropic/models/claude-x@1:streamRawPredict HTTP/1.1\r\n";
            assert!(head.starts_with(first), "{head}");
            assert!(head.contains("authorization: Bearer t"));
            assert!(head.contains("anthropic-beta: b"));
        }
    }

    #[test]
    fn counting_names_the_model_in_the_body() {
        let (head, body) = sent(
            r#"{"model":"claude"}"#,
            UpstreamOperation::CountTokens,
            false,
        );
        assert_eq!(
            body,
            r#"{"anthropic_version":"vertex-2023-10-16","model":"claude-x@1"}"#
        );
        assert!(head.contains("/publishers/anthropic/models/count-tokens:rawPredict HTTP/1.1"));
    }
}
