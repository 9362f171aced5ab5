//! The client API of Anthropic's Messages.

use crate::error::code::ErrorCode;
use crate::error::gateway_error::GatewayError;
use crate::protocols::anthropic::client::request;
use crate::protocols::anthropic::client::response;
use crate::protocols::anthropic::client::stream;
use crate::protocols::anthropic::vocabulary::NAME;
use crate::protocols::anthropic::vocabulary::error_type;
use crate::protocols::client_api::{ClientApi, ClientRoute, Encoder, ResponseContext};
use crate::protocols::json::document::{Document, Scratch};
use crate::protocols::json::write::{key, open, open_field, raw, text};
use crate::protocols::neutral::request::Request;
use crate::protocols::neutral::response::{ProviderError, Response};
use crate::protocols::neutral::unsupported_fields::UnsupportedFields;
use crate::protocols::request::canonical_request::canonical;
use crate::protocols::request::chat_request::{ChatRequest, read_plain};

pub(crate) struct Anthropic;

impl ClientApi for Anthropic {
    fn name(&self) -> &'static str {
        NAME
    }

    fn route(&self, path: &str) -> Option<ClientRoute> {
        match path {
            "/v1/messages" => Some(ClientRoute::Chat),
            "/v1/messages/count_tokens" => Some(ClientRoute::CountTokens),
            _ => None,
        }
    }

    fn owns_path(&self, path: &str) -> bool {
        path.starts_with("/v1/messages")
    }

    fn inspect_request(
        &self,
        _target: &str,
        body: &[u8],
        scratch: &mut Scratch,
        with_canonical: bool,
    ) -> Result<ChatRequest, GatewayError> {
        scratch
            .with_document(body, |document| {
                let mut chat = read_plain(body, document)?;
                if with_canonical {
                    let mut form = canonical(document);
                    // A request in another wire format has the same fields but another canonical form.
                    form.extend_scope(NAME.as_bytes());
                    chat.canonical = Some(form);
                }
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

    fn write_provider_error(&self, failure: &ProviderError<'_>, out: &mut Vec<u8>) {
        response::write_provider_error(failure, out);
    }

    fn error_body(&self, error: &GatewayError) -> String {
        let mut out = b"{\"type\":\"error\",\"error\":{".to_vec();
        text(&mut out, "type", error_type(error.status));
        text(&mut out, "message", &error.message);
        text(&mut out, "code", error.code.as_str());
        key(&mut out, "param");
        match &error.param {
            Some(param) => crate::protocols::json::document::write_string(&mut out, param),
            None => out.extend_from_slice(b"null"),
        }
        out.extend_from_slice(b"}}");
        String::from_utf8_lossy(&out).into_owned()
    }

    fn write_error_event(&self, error: &GatewayError, out: &mut Vec<u8>) {
        out.extend_from_slice(b"event: error\ndata: ");
        out.extend_from_slice(self.error_body(error).as_bytes());
        out.extend_from_slice(b"\n\n");
    }

    fn encoder(&self, response_ctx: ResponseContext) -> Box<dyn Encoder> {
        Box::new(stream::Blocks::new(response_ctx))
    }

    /// All models are on one page. A request for the next page gets the same page, which says that there are no more.
    fn write_models(&self, names: &mut dyn Iterator<Item = &str>, _created: u64) -> Vec<u8> {
        let mut out = b"{".to_vec();
        open_field(&mut out, "data", b'[');
        let (mut first, mut last) = (None, None);
        for name in names {
            write_model(name, &mut out);
            first = first.or(Some(name));
            last = Some(name);
        }
        out.push(b']');
        raw(&mut out, "has_more", "false");
        for (field, name) in [("first_id", first), ("last_id", last)] {
            match name {
                Some(name) => text(&mut out, field, name),
                None => raw(&mut out, field, "null"),
            }
        }
        out.push(b'}');
        out
    }

    fn write_model(&self, name: &str, _created: u64) -> Vec<u8> {
        let mut out = Vec::new();
        write_model(name, &mut out);
        // A comma is written only between the elements of a list.
        out.split_off(usize::from(out.first() == Some(&b',')))
    }
}

/// The release date of a model if it is unknown: "an epoch value" (Anthropic's API reference, "List Models").
const RELEASED: &str = "1970-01-01T00:00:00Z";

fn write_model(name: &str, out: &mut Vec<u8>) {
    open(out, b'{');
    text(out, "type", "model");
    text(out, "id", name);
    text(out, "display_name", name);
    text(out, "created_at", RELEASED);
    text(out, "lifecycle", "active");
    out.push(b'}');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn models_in_anthropics_form() {
        let parsed = |bytes: Vec<u8>| serde_json::from_slice::<serde_json::Value>(&bytes).unwrap();
        let list = parsed(Anthropic.write_models(&mut ["a", "b\"c"].into_iter(), 7));
        assert_eq!(
            (&list["first_id"], &list["last_id"]),
            (&"a".into(), &"b\"c".into())
        );
        assert_eq!(list["data"][1], parsed(Anthropic.write_model("b\"c", 7)));
        assert_eq!(list["has_more"], false);
        let none = parsed(Anthropic.write_models(&mut [].into_iter(), 7));
        assert!(none["first_id"].is_null() && none["data"].as_array().unwrap().is_empty());
    }
}
