//! Reads the fields of a Gemini request that routing needs: model and stream from the path, the others from the body.

use crate::error::code::ErrorCode;
use crate::error::gateway_error::GatewayError;
use crate::http::percent;
use crate::protocols::gemini::client::errors::bad;
use crate::protocols::gemini::client::fields::{list_of, node_of, plain, text_of};
use crate::protocols::gemini::client::paths::parts_of;
use crate::protocols::json::document::{Document, Scratch};
use crate::protocols::json::name_map::NameMap;
use crate::protocols::json::splice::string_end;
use crate::protocols::request::canonical_request::{Canonical, NotSemantic, form};
use crate::protocols::request::chat_request::ChatRequest;
use crate::protocols::request::request_shape::{Shape, text_bytes};
use std::ops::Range;

/// Reads a request to `target`.
///
/// # Errors
/// 400 that names the position or the field.
pub(crate) fn read(
    target: &str,
    body: &[u8],
    scratch: &mut Scratch,
    with_canonical: bool,
) -> Result<ChatRequest, GatewayError> {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let (model, action) = parts_of(path).ok_or_else(|| bad("model", "is missing in the path"))?;
    let model =
        percent::unescaped(model).ok_or_else(|| bad("model", "is malformed in the path"))?;
    let stream = action == "streamGenerateContent";
    let known = |form: &str| matches!(form, "sse" | "json");
    if let Some(other) = forms(query).find(|form| !known(form)) {
        let message = format!("`alt` must be `sse` or `json`, and is `{other}`");
        return Err(GatewayError::new(ErrorCode::InvalidRequest, message).on("alt"));
    }
    scratch
        .with_document(body, |document| {
            check(document, action)?;
            Ok(ChatRequest {
                model: model.into_owned(),
                model_range: model_range(document, body),
                stream,
                wants_usage: true,
                stores: false,
                state: None,
                usage_edit: None,
                shape: shape(document, stream),
                routing_fields: None,
                canonical: with_canonical.then(|| canonical(document)),
            })
        })
        .map_err(|bad| GatewayError::new(ErrorCode::InvalidJson, bad.message))?
}

/// The response forms that `query` names (Google's "System parameters").
fn forms(query: &str) -> impl Iterator<Item = &str> {
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    pairs.filter_map(|(name, form)| matches!(name, "alt" | "$alt").then_some(form))
}

/// Whether `target` requests a stream that is not in server-sent events.
pub(crate) fn streams_array(target: &str) -> bool {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let is_stream = parts_of(path).is_some_and(|(_, action)| action == "streamGenerateContent");
    is_stream && !forms(query).any(|form| form == "sse")
}

/// Rejects a field that occurs twice, in either spelling, because two parsers could read different values.
fn check(document: &Document<'_>, action: &str) -> Result<(), GatewayError> {
    let fields = document.root_fields();
    let fields = fields.ok_or_else(|| {
        GatewayError::new(ErrorCode::InvalidJson, "the body must be a JSON object")
    })?;
    let mut seen = NameMap::default();
    let mut seen_long = NameMap::default();
    for (key, _) in fields {
        let plain = plain(key);
        let before = match plain.is_empty() {
            true => seen_long.insert(key, ()),
            false => seen.insert(plain, ()),
        };
        if before.is_some() {
            return Err(bad(key, "occurs twice in the body"));
        }
    }
    if action == "countTokens" {
        return Ok(());
    }
    let contents = node_of(document, 0, "contents").ok_or_else(|| bad("contents", "is missing"))?;
    match document.elements(contents).map(|mut all| all.next()) {
        Some(Some(_)) => Ok(()),
        Some(None) => Err(bad("contents", "must not be empty")),
        None => Err(bad("contents", "must be an array")),
    }
}

/// The range of the model's name in the body, after `models/`: it must be replaced like the name in the path.
fn model_range(document: &Document<'_>, body: &[u8]) -> Range<usize> {
    let inner = node_of(document, 0, "generatecontentrequest");
    let name = [Some(0), inner]
        .into_iter()
        .flatten()
        .find_map(|at| text_of(document, at, "model"));
    let range = name.and_then(|name| {
        let start = document.offset_of(name)?;
        let end = string_end(body, start)?;
        let prefix = if name.starts_with("models/") { 7 } else { 0 };
        Some(start + prefix..end)
    });
    range.unwrap_or(0..0)
}

fn shape(document: &Document<'_>, streams: bool) -> Shape {
    let mut shape = Shape {
        streams,
        ..Shape::default()
    };
    for content in list_of(document, 0, "contents") {
        shape.messages += 1;
        for part in list_of(document, content, "parts") {
            read_part(document, part, &mut shape);
        }
    }
    for name in ["systeminstruction", "tools"] {
        let node = node_of(document, 0, name);
        shape.text_bytes += node.map_or(0, |at| text_bytes(document, at));
    }
    shape.has_tools = list_of(document, 0, "tools").next().is_some();
    if let Some(config) = node_of(document, 0, "generationconfig") {
        shape.completion_max =
            node_of(document, config, "maxoutputtokens").and_then(|at| document.unsigned(at));
        let mut schemas = ["responseschema", "responsejsonschema"].into_iter();
        shape.wants_schema = schemas.any(|name| node_of(document, config, name).is_some());
        shape.text_bytes += text_bytes(document, config);
    }
    shape
}

fn read_part(document: &Document<'_>, part: usize, shape: &mut Shape) {
    let mut media = ["inlinedata", "filedata"].into_iter();
    let Some(data) = media.find_map(|name| node_of(document, part, name)) else {
        shape.text_bytes += text_bytes(document, part);
        return;
    };
    shape.has_media = true;
    let kind = text_of(document, data, "mimetype").unwrap_or_default();
    shape.has_images |= kind.starts_with("image/");
}

fn canonical(document: &Document<'_>) -> Canonical {
    let config = node_of(document, 0, "generationconfig");
    let of_config = |name| node_of(document, config?, name);
    let several = of_config("candidatecount").is_some_and(|at| document.unsigned(at) != Some(1))
        || of_config("responselogprobs").and_then(|at| document.boolean(at)) == Some(true);
    let exact_only = match (of_config("seed"), several) {
        (Some(_), _) => Some(NotSemantic::Seed),
        (None, true) => Some(NotSemantic::SeveralChoices),
        (None, false) => None,
    };
    let mut form = form(document, question(document), exact_only);
    // A request in another wire format has the same fields but another canonical form.
    form.extend_scope(crate::protocols::gemini::vocabulary::NAME.as_bytes());
    form
}

/// The string node with the text of the last turn, if it is the user's and contains only text.
fn question(document: &Document<'_>) -> Result<usize, NotSemantic> {
    let last = list_of(document, 0, "contents").last();
    let last = last.ok_or(NotSemantic::LastMessageNotUser)?;
    if !matches!(text_of(document, last, "role"), None | Some("user")) {
        return Err(NotSemantic::LastMessageNotUser);
    }
    let mut parts = list_of(document, last, "parts");
    let (Some(part), None) = (parts.next(), parts.next()) else {
        return Err(NotSemantic::NotPlainText);
    };
    let is_bare = document
        .fields(part)
        .is_some_and(|fields| fields.count() == 1);
    node_of(document, part, "text")
        .filter(|at| is_bare && document.text(*at).is_some())
        .ok_or(NotSemantic::NotPlainText)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_it(target: &str, body: &str) -> Result<ChatRequest, GatewayError> {
        read(target, body.as_bytes(), &mut Scratch::default(), true)
    }

    const PATH: &str = "/v1beta/models/a%2Fb:generateContent";

    #[test]
    fn the_path_decides_model_and_stream() {
        let body = r#"{"contents":[{"parts":[{"text":"hi"}]}]}"#;
        let whole = read_it(PATH, body).unwrap();
        assert_eq!((whole.model.as_str(), whole.stream), ("a/b", false));
        assert!(whole.model_range.is_empty());
        let path = "/v1beta/models/m:streamGenerateContent";
        for (query, is_array) in [
            ("", true),
            ("?key=k", true),
            ("?alt=json", true),
            ("?key=k&alt=sse", false),
            ("?$alt=sse", false),
        ] {
            let target = format!("{path}{query}");
            assert!(read_it(&target, body).unwrap().stream, "{query}");
            assert_eq!(streams_array(&target), is_array, "{query}");
        }
        assert!(!streams_array(PATH));
        let error = read_it(&format!("{path}?alt=proto"), body).unwrap_err();
        assert_eq!((error.status, error.param.as_deref()), (400, Some("alt")));
    }

    #[test]
    fn a_model_in_the_body_is_replaced_too() {
        let body = r#"{"generateContentRequest":{"model":"models/x","contents":[]}}"#;
        let read = read_it("/v1beta/models/m:countTokens", body).unwrap();
        assert_eq!(&body[read.model_range], "x");
    }

    #[test]
    fn the_scope_does_not_contain_the_question() {
        let form = |body: &str| read_it(PATH, body).unwrap().canonical.unwrap();
        let a = form(r#"{"contents":[{"role":"user","parts":[{"text":"hi"}]}]}"#);
        let b = form(r#"{"contents":[{"parts":[{"text":"ho"}],"role":"user"}]}"#);
        assert_eq!((a.question(), a.semantic), ("hi", Ok(())));
        assert_eq!(a.scope(), b.scope());
        for (more, why) in [
            (r#""generationConfig":{"seed":1}"#, NotSemantic::Seed),
            (
                r#""generation_config":{"candidate_count":2}"#,
                NotSemantic::SeveralChoices,
            ),
        ] {
            let body = format!(r#"{{"contents":[{{"parts":[{{"text":"hi"}}]}}],{more}}}"#);
            assert_eq!(form(&body).semantic, Err(why));
        }
        for (content, why) in [
            (
                r#"{"role":"model","parts":[{"text":"x"}]}"#,
                NotSemantic::LastMessageNotUser,
            ),
            (
                r#"{"parts":[{"text":"x"},{"text":"y"}]}"#,
                NotSemantic::NotPlainText,
            ),
            (
                r#"{"parts":[{"text":"x","thought":true}]}"#,
                NotSemantic::NotPlainText,
            ),
        ] {
            let form = form(&format!(r#"{{"contents":[{content}]}}"#));
            assert_eq!(form.semantic, Err(why), "{content}");
        }
    }

    #[test]
    fn requirements_are_detected() {
        let shape = read_it(
            PATH,
            r#"{"contents":[{"parts":[{"text":"12345678"},{"inline_data":{"mime_type":"image/png","data":"…"}}]}],
            "tools":[{}],"generationConfig":{"maxOutputTokens":9,"responseSchema":{}}}"#,
        )
        .unwrap()
        .shape;
        assert!(shape.has_tools && shape.has_images && shape.wants_schema && !shape.streams);
        assert_eq!(shape.completion_max, Some(9));
        assert!(shape.text_bytes >= 8);
    }

    #[test]
    fn bad_requests_name_the_field() {
        for (body, param) in [
            ("{}", Some("contents")),
            (r#"{"contents":[]}"#, Some("contents")),
            (r#"{"contents":{}}"#, Some("contents")),
            (r#"{"contents":[1],"contents":[1]}"#, Some("contents")),
            ("[1]", None),
        ] {
            let error = read_it(PATH, body).unwrap_err();
            assert_eq!(
                (error.status, error.param.as_deref()),
                (400, param),
                "{body}"
            );
        }
    }
}
