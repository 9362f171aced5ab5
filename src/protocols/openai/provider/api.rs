//! OpenAI's chat completions, for OpenAI and every compatible server.
//!
//! A request in this wire format is forwarded byte for byte; only the model's name and the option that
//! requests usage are spliced in.

use crate::protocols::openai::provider::request;
use crate::protocols::openai::provider::response;
use crate::protocols::openai::provider::stream;
use crate::protocols::openai::vocabulary;

use crate::error::gateway_error::GatewayError;
use crate::protocols::json::document::Document;
use crate::protocols::neutral::request::Request;
use crate::protocols::neutral::response::{ProviderError, Response};
use crate::protocols::neutral::unsupported_fields::UnsupportedFields;
use crate::protocols::outgoing_request::{OutgoingRequest, UpstreamOperation, post};
use crate::protocols::provider_api::{Decoder, ProviderApi, UnreadableBody};
use crate::signing::auth::BEARER;

pub(crate) struct OpenAi;

impl ProviderApi for OpenAi {
    fn name(&self) -> &'static str {
        "openai"
    }

    fn native_client_api(&self) -> &'static str {
        vocabulary::NAME
    }

    fn supports(&self, operation: UpstreamOperation) -> bool {
        matches!(
            operation,
            UpstreamOperation::Chat
                | UpstreamOperation::Embeddings
                | UpstreamOperation::Rerank
                | UpstreamOperation::Passthrough(_)
        )
    }

    fn encode(&self, request: &OutgoingRequest<'_>, out: &mut Vec<u8>) {
        let path = match request.call {
            UpstreamOperation::Embeddings => "/embeddings",
            // Not a path of OpenAI: many compatible servers have it in Jina's form.
            UpstreamOperation::Rerank => "/rerank",
            UpstreamOperation::Passthrough(path) => path,
            UpstreamOperation::Chat | UpstreamOperation::CountTokens => "/chat/completions",
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
        Box::new(stream::Chunks::default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocols::json::document::Scratch;
    use crate::protocols::outgoing_request::Body;
    use crate::protocols::request::chat_request::read_chat;
    use crate::signing::auth::Auth;

    #[test]
    fn the_request_is_one_message_with_its_exact_length() {
        let body = br#"{"model":"a","stream":true,"messages":[{"role":"user","content":"hi"}]}"#;
        let chat = read_chat(body, &mut Scratch::default(), false).unwrap();
        let mut out = Vec::new();
        OpenAi.encode(
            &OutgoingRequest {
                call: UpstreamOperation::Chat,
                streams: true,
                body: Body::Spliced {
                    bytes: body,
                    model_range: &chat.model_range,
                    usage_edit: chat.usage_edit.as_ref(),
                },
                model: "a \"quoted\" model",
                base_path: "/v1",
                api_version: None,
                authority: "api.example:1",
                auth: Auth::Key("sk-1"),
                forwarded_headers: b"x-a: b\r\n",
            },
            &mut out,
        );
        let text = String::from_utf8(out).unwrap();
        let (head, sent) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("POST /v1/chat/completions HTTP/1.1\r\nhost: api.example:1\r\nauthorization: Bearer sk-1\r\n"));
        assert!(head.contains("\r\nx-a: b\r\n"));
        let lower = head.to_ascii_lowercase();
        assert!(
            lower.ends_with(&format!("content-length: {}", sent.len())),
            "{lower}"
        );
        let value: serde_json::Value = serde_json::from_str(sent).unwrap();
        assert_eq!(value["model"], "a \"quoted\" model");
    }
}
