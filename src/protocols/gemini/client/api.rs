//! Google's Gemini API as applications speak it: `generateContent` and its kin.
//!
//! Names are taken in both spellings that Google takes, `inlineData` and `inline_data`.

use crate::error::code::ErrorCode;
use crate::error::gateway_error::GatewayError;
use crate::http::percent;
use crate::protocols::client_api::{ClientApi, ClientRoute, Encoder, ResponseContext};
use crate::protocols::gemini::client::prepare;
use crate::protocols::gemini::client::request;
use crate::protocols::gemini::client::request_head;
use crate::protocols::gemini::client::response;
use crate::protocols::gemini::client::stream;
use crate::protocols::json::document::{Document, Scratch, write_string};
use crate::protocols::json::write::{number, open, open_field, raw, text};
use crate::protocols::neutral::request::Request;
use crate::protocols::neutral::response::{Failure, Response, Stop};
use crate::protocols::neutral::unsupported_fields::UnsupportedFields;
use crate::protocols::request::chat_request::ChatRequest;
use arrayvec::ArrayString;
use std::borrow::Cow;

/// The dialect's name.
pub(crate) const NAME: &str = "gemini";

/// The dialect.
pub(crate) struct Gemini;

/// Stands where a seal is due that nobody has, for calls that another model made (Google's page on
/// thought signatures).
pub(crate) const NO_SEAL: &str = "skip_thought_signature_validator";

/// `finishReason`s, each with what it means; the first of a meaning is the one that is written.
pub(crate) const FINISH_REASONS: [(&str, Stop); 20] = [
    ("", Stop::End),
    ("STOP", Stop::End),
    ("MAX_TOKENS", Stop::Length),
    ("SAFETY", Stop::Refused),
    ("RECITATION", Stop::Refused),
    ("LANGUAGE", Stop::Refused),
    ("BLOCKLIST", Stop::Refused),
    ("PROHIBITED_CONTENT", Stop::Refused),
    ("SPII", Stop::Refused),
    ("MODEL_ARMOR", Stop::Refused),
    ("IMAGE_SAFETY", Stop::Refused),
    ("IMAGE_PROHIBITED_CONTENT", Stop::Refused),
    ("IMAGE_RECITATION", Stop::Refused),
    ("OTHER", Stop::Refused),
    ("MALFORMED_FUNCTION_CALL", Stop::Failed),
    ("UNEXPECTED_TOOL_CALL", Stop::Failed),
    ("TOO_MANY_TOOL_CALLS", Stop::Failed),
    ("MISSING_THOUGHT_SIGNATURE", Stop::Failed),
    ("MALFORMED_RESPONSE", Stop::Failed),
    ("NO_IMAGE", Stop::Failed),
];

/// Statuses with Google's words for them (`google.rpc.Code`, and its mapping to HTTP).
pub(crate) const ERROR_STATUSES: [(u16, &str); 11] = [
    (400, "INVALID_ARGUMENT"),
    (401, "UNAUTHENTICATED"),
    (403, "PERMISSION_DENIED"),
    (404, "NOT_FOUND"),
    (409, "ABORTED"),
    (429, "RESOURCE_EXHAUSTED"),
    (499, "CANCELLED"),
    (500, "INTERNAL"),
    (501, "UNIMPLEMENTED"),
    (503, "UNAVAILABLE"),
    (504, "DEADLINE_EXCEEDED"),
];

/// Google's word for a status.
pub(crate) fn error_status(status: u16) -> &'static str {
    let known = ERROR_STATUSES.iter().find(|(code, _)| *code == status);
    match known {
        Some((_, name)) => name,
        None if status < 500 => "INVALID_ARGUMENT",
        None => "UNAVAILABLE",
    }
}

/// Beginnings of this dialect's paths: the versions of the API.
const VERSIONS: [&str; 3] = ["/v1beta/", "/v1alpha/", "/v1/"];

/// Where the model stands in a path, and what is asked of it.
pub(crate) fn parts_of(path: &str) -> Option<(&str, &str)> {
    let rest = VERSIONS
        .iter()
        .find_map(|version| path.strip_prefix(version))?;
    let (model, action) = rest.strip_prefix("models/")?.rsplit_once(':')?;
    (!model.is_empty()).then_some((model, action))
}

impl ClientApi for Gemini {
    fn name(&self) -> &'static str {
        NAME
    }

    fn ask(&self, path: &str) -> Option<ClientRoute> {
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

    fn owns(&self, path: &str) -> bool {
        path.starts_with("/v1beta/") || self.ask(path).is_some()
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

    fn forwarded_headers(&self) -> &'static [&'static str] {
        &["x-goog-api-client"]
    }

    fn read_head(
        &self,
        target: &str,
        body: &[u8],
        scratch: &mut Scratch,
        with_canonical: bool,
    ) -> Result<ChatRequest, GatewayError> {
        request_head::read(target, body, scratch, with_canonical)
    }

    fn prepare(&self, body: &[u8], scratch: &mut Scratch) -> Option<Vec<u8>> {
        prepare::prepare(body, scratch)
    }

    fn read_request<'d>(
        &self,
        document: &Document<'d>,
        unsupported: &mut UnsupportedFields,
    ) -> Result<Request<'d>, GatewayError> {
        request::read(document, unsupported)
    }

    fn write_answer(
        &self,
        response: &Response<'_>,
        response_ctx: &ResponseContext,
        out: &mut Vec<u8>,
    ) {
        response::write(response, response_ctx, out);
    }

    fn write_failure(&self, failure: &Failure<'_>, out: &mut Vec<u8>) {
        response::write_failure(failure, out);
    }

    fn envelope(&self, fault: &GatewayError) -> String {
        let mut out = b"{\"error\":{".to_vec();
        number(&mut out, "code", u64::from(fault.status));
        text(&mut out, "message", &fault.message);
        text(&mut out, "status", error_status(fault.status));
        write_reason(fault.code.as_str(), fault.param.as_deref(), &mut out);
        out.extend_from_slice(b"}}");
        String::from_utf8_lossy(&out).into_owned()
    }

    fn write_fault_event(&self, fault: &GatewayError, out: &mut Vec<u8>) {
        out.extend_from_slice(b"data: ");
        out.extend_from_slice(self.envelope(fault).as_bytes());
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
        // A comma is due only between the elements of a list.
        out.split_off(usize::from(out.first() == Some(&b',')))
    }
}

/// The detail that tells why, in Google's form (`google.rpc.ErrorInfo`).
pub(crate) fn write_reason(reason: &str, field: Option<&str>, out: &mut Vec<u8>) {
    open_field(out, "details", b'[');
    open(out, b'{');
    text(out, "@type", "type.googleapis.com/google.rpc.ErrorInfo");
    text(out, "reason", reason);
    text(out, "domain", "ringside");
    if let Some(field) = field {
        open_field(out, "metadata", b'{');
        text(out, "field", field);
        out.push(b'}');
    }
    out.extend_from_slice(b"}]");
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

/// A field's name in small letters without `_`, in which both spellings are one; empty if it is longer
/// than any of this dialect.
pub(crate) fn plain(name: &str) -> ArrayString<40> {
    let mut plain = ArrayString::new();
    for letter in name.chars().filter(|letter| *letter != '_') {
        if plain.try_push(letter.to_ascii_lowercase()).is_err() {
            return ArrayString::new();
        }
    }
    plain
}

/// Key and value of the field whose plain name is `name`.
pub(crate) fn field<'d>(
    document: &Document<'d>,
    at: usize,
    name: &str,
) -> Option<(&'d str, usize)> {
    let mut fields = document.fields(at)?;
    fields.find(|(key, value)| plain(key).as_str() == name && !document.is_null(*value))
}

pub(crate) fn node_of(document: &Document<'_>, at: usize, name: &str) -> Option<usize> {
    field(document, at, name).map(|(_, value)| value)
}

pub(crate) fn text_of<'d>(document: &Document<'d>, at: usize, name: &str) -> Option<&'d str> {
    document.text(node_of(document, at, name)?)
}

pub(crate) fn raw_of<'d>(document: &Document<'d>, at: usize, name: &str) -> Option<&'d str> {
    document.raw(field(document, at, name)?.0)
}

/// The elements of the array in the field whose plain name is `name`.
pub(crate) fn list_of<'d>(
    document: &Document<'d>,
    at: usize,
    name: &str,
) -> impl Iterator<Item = usize> + use<'d> {
    let list = node_of(document, at, name);
    list.and_then(|at| document.elements(at))
        .into_iter()
        .flatten()
}

pub(crate) fn bad(field: &str, what: &str) -> GatewayError {
    GatewayError::new(ErrorCode::InvalidRequest, format!("`{field}` {what}")).on(field.to_owned())
}

/// Appends the id of the call with this number.
pub(crate) fn write_call_id(
    id: &str,
    nth: usize,
    response_ctx: &ResponseContext,
    out: &mut Vec<u8>,
) {
    if id.is_empty() {
        write_string(out, &format!("call_{}_{nth}", response_ctx.request_id));
    } else {
        write_string(out, id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
            assert_eq!(Gemini.ask(path), ask, "{path}");
        }
        assert!(Gemini.owns("/v1beta/models/m:embedContent"));
        assert!(!Gemini.owns("/v1/models/m"));
    }

    #[test]
    fn both_spellings_are_one() {
        assert_eq!(plain("systemInstruction"), plain("system_instruction"));
        assert_eq!(&plain(&"x".repeat(41)), "");
    }

    #[test]
    fn a_fault_is_told_in_googles_envelope() {
        let fault = GatewayError::new(ErrorCode::UnsupportedFields, "no \"place\"").on("seed");
        let told: serde_json::Value = serde_json::from_str(&Gemini.envelope(&fault)).unwrap();
        assert_eq!(told["error"]["code"], 400);
        assert_eq!(told["error"]["status"], "INVALID_ARGUMENT");
        assert_eq!(told["error"]["details"][0]["reason"], "unsupported_fields");
        assert_eq!(told["error"]["details"][0]["metadata"]["field"], "seed");
    }

    #[test]
    fn models_in_googles_form() {
        let list = Gemini.write_models(&mut ["a", "b"].into_iter(), 7);
        let list: serde_json::Value = serde_json::from_slice(&list).unwrap();
        assert_eq!(list["models"][1]["name"], "models/b");
        let one = Gemini.write_model("a", 7);
        let one: serde_json::Value = serde_json::from_slice(&one).unwrap();
        assert_eq!(one["displayName"], "a");
    }
}
