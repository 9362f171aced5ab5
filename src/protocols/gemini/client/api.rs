//! The client API of Google's Gemini: `generateContent` and related methods.
//!
//! Names are accepted in both spellings that Google accepts, `inlineData` and `inline_data`.

use crate::error::gateway_error::GatewayError;
use crate::http::percent;
use crate::protocols::client_api::{ClientApi, ClientRoute, Encoder, ResponseContext};
use crate::protocols::gemini::client::errors;
use crate::protocols::gemini::client::errors::bad;
use crate::protocols::gemini::client::errors::error_status;
use crate::protocols::gemini::client::errors::write_reason;
use crate::protocols::gemini::client::paths::parts_of;
use crate::protocols::gemini::client::prepare;
use crate::protocols::gemini::client::request;
use crate::protocols::gemini::client::request_head;
use crate::protocols::gemini::client::response;
use crate::protocols::gemini::client::stream;
use crate::protocols::gemini::vocabulary::NAME;
use crate::protocols::json::document::{Document, Scratch};
use crate::protocols::json::write::{number, open, raw, text};
use crate::protocols::neutral::request::Request;
use crate::protocols::neutral::response::{ProviderError, Response};
use crate::protocols::neutral::unsupported_fields::UnsupportedFields;
use crate::protocols::request::chat_request::ChatRequest;

use std::borrow::Cow;

pub(crate) struct Gemini;

impl ClientApi for Gemini {
    fn name(&self) -> &'static str {
        NAME
    }

    fn route(&self, path: &str) -> Option<ClientRoute> {
        match parts_of(path) {
            Some((_, "generateContent" | "streamGenerateContent")) => Some(ClientRoute::Chat),
            Some((_, "countTokens")) => Some(ClientRoute::CountTokens),
            _ if path == "/v1beta/models" => Some(ClientRoute::Models),
            _ => {
                let model = path.strip_prefix("/v1beta/models/")?;
                (!model.is_empty() && !model.contains(':')).then_some(ClientRoute::Model)
            }
        }
    }

    fn owns_path(&self, path: &str) -> bool {
        path.starts_with("/v1beta/") || self.route(path).is_some()
    }

    fn key_in_query<'t>(&self, target: &'t str) -> Result<Option<Cow<'t, str>>, GatewayError> {
        let (_, query) = target.split_once('?').unwrap_or_default();
        let mut pairs = query.split('&');
        let Some(key) = pairs.find_map(|pair| pair.strip_prefix("key=")) else {
            return Ok(None);
        };
        let key = percent::unescaped(key).ok_or_else(|| bad("key", "is malformed in the query"))?;
        Ok(Some(key))
    }

    fn streams_array(&self, target: &str) -> bool {
        request_head::streams_array(target)
    }

    fn inspect_request(
        &self,
        target: &str,
        body: &[u8],
        scratch: &mut Scratch,
        with_canonical: bool,
    ) -> Result<ChatRequest, GatewayError> {
        request_head::read(target, body, scratch, with_canonical)
    }

    fn normalize_request(&self, body: &[u8], scratch: &mut Scratch) -> Option<Vec<u8>> {
        prepare::normalize_request(body, scratch)
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
        let mut out = b"{\"error\":{".to_vec();
        number(&mut out, "code", u64::from(error.status));
        text(&mut out, "message", &error.message);
        text(&mut out, "status", error_status(error.status));
        write_reason(error.code.as_str(), error.param.as_deref(), &mut out);
        out.extend_from_slice(b"}}");
        String::from_utf8_lossy(&out).into_owned()
    }

    fn write_error_event(&self, error: &GatewayError, out: &mut Vec<u8>) {
        out.extend_from_slice(b"data: ");
        out.extend_from_slice(self.error_body(error).as_bytes());
        out.extend_from_slice(b"\n\n");
    }

    fn encoder(&self, response_ctx: ResponseContext) -> Box<dyn Encoder> {
        Box::new(stream::Chunks::new(response_ctx))
    }

    fn write_models(&self, names: &mut dyn Iterator<Item = &str>, _created: u64) -> Vec<u8> {
        let mut out = b"{\"models\":[".to_vec();
        for name in names {
            write_model(name, &mut out);
        }
        out.extend_from_slice(b"]}");
        out
    }

    fn write_model(&self, name: &str, _created: u64) -> Vec<u8> {
        let mut out = Vec::new();
        write_model(name, &mut out);
        // A comma is written only between the elements of a list.
        out.split_off(usize::from(out.first() == Some(&b',')))
    }
}

fn write_model(name: &str, out: &mut Vec<u8>) {
    open(out, b'{');
    text(out, "name", &format!("models/{name}"));
    text(out, "displayName", name);
    raw(
        out,
        "supportedGenerationMethods",
        "[\"generateContent\",\"streamGenerateContent\",\"countTokens\"]",
    );
    out.push(b'}');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::code::ErrorCode;

    #[test]
    fn paths() {
        for (path, ask) in [
            ("/v1beta/models/m:generateContent", Some(ClientRoute::Chat)),
            (
                "/v1/models/a:b:streamGenerateContent",
                Some(ClientRoute::Chat),
            ),
            (
                "/v1beta/models/m:countTokens",
                Some(ClientRoute::CountTokens),
            ),
            ("/v1beta/models", Some(ClientRoute::Models)),
            ("/v1beta/models/m", Some(ClientRoute::Model)),
            ("/v1beta/models/m:embedContent", None),
            ("/v1beta/models/:generateContent", None),
            ("/v1/models", None),
            ("/v1/models/m", None),
            ("/v1/chat/completions", None),
        ] {
            assert_eq!(Gemini.route(path), ask, "{path}");
        }
        assert!(Gemini.owns_path("/v1beta/models/m:embedContent"));
        assert!(!Gemini.owns_path("/v1/models/m"));
    }

    #[test]
    fn an_error_has_googles_format() {
        let error = GatewayError::new(ErrorCode::UnsupportedFields, "no \"place\"").on("seed");
        let envelope: serde_json::Value = serde_json::from_str(&Gemini.error_body(&error)).unwrap();
        assert_eq!(envelope["error"]["code"], 400);
        assert_eq!(envelope["error"]["status"], "INVALID_ARGUMENT");
        assert_eq!(
            envelope["error"]["details"][0]["reason"],
            "unsupported_fields"
        );
        assert_eq!(envelope["error"]["details"][0]["metadata"]["field"], "seed");
    }

    #[test]
    fn models_in_googles_form() {
        let list = Gemini.write_models(&mut ["a", "b"].into_iter(), 7);
        let list: serde_json::Value = serde_json::from_slice(&list).unwrap();
        assert_eq!(list["models"][1]["name"], "models/b");
        let model = Gemini.write_model("a", 7);
        let model: serde_json::Value = serde_json::from_slice(&model).unwrap();
        assert_eq!(model["displayName"], "a");
    }
}
