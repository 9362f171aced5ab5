//! Reads the fields of a chat request that routing and caching need, in one pass.

use crate::error::code::ErrorCode;
use crate::error::gateway_error::GatewayError;
use crate::protocols::json::document::{Document, Scratch};
use crate::protocols::request::top_level::{StreamOptions, Top, invalid, read_top, usage_option};

use crate::protocols::json::splice::Edit;
use crate::protocols::request::canonical_request::{Canonical, canonical};
use crate::protocols::request::request_shape::Shape;

use crate::protocols::request::routing_fields::RoutingFields;
use crate::protocols::request::stored_state::State;
use std::ops::Range;

/// The fields of a chat request that the gateway needs.
#[derive(Debug, Clone)]
pub struct ChatRequest {
    /// The requested model.
    pub model: String,
    /// The range of the model's name in the body, without its quotes.
    pub model_range: Range<usize>,
    /// Whether to stream the response.
    pub stream: bool,
    /// Whether the client requested the usage event of a stream.
    pub wants_usage: bool,
    /// Whether the provider stores the response, which is a side effect of the request.
    pub stores: bool,
    /// The stored responses that the request refers to.
    pub state: Option<Box<State>>,
    /// The edit that requests usage from the provider; `None` if the body already does, or requests no stream.
    pub usage_edit: Option<Edit>,
    /// Its size and requirements.
    pub shape: Shape,
    /// OpenRouter's fields for routing.
    pub routing_fields: Option<Box<RoutingFields>>,
    /// The canonical form, if the cache needs it.
    pub canonical: Option<Canonical>,
}

impl ChatRequest {
    /// Whether the request has side effects.
    #[must_use]
    pub fn has_effect(&self) -> bool {
        self.stores || self.state.is_some()
    }
}

/// Reads a chat request.
///
/// # Errors
/// 400 that names the position or the field.
pub fn read_chat(
    body: &[u8],
    scratch: &mut Scratch,
    with_canonical: bool,
) -> Result<ChatRequest, GatewayError> {
    scratch
        .with_document(body, |document| read(body, document, with_canonical))
        .map_err(|bad| GatewayError::new(ErrorCode::InvalidJson, bad.message))?
}

fn read(
    body: &[u8],
    document: &Document<'_>,
    with_canonical: bool,
) -> Result<ChatRequest, GatewayError> {
    let (mut chat, stream_options) = read_parts(body, document)?;
    if chat.stream {
        (chat.wants_usage, chat.usage_edit) = usage_option(body, document, stream_options)?;
    }
    chat.canonical = with_canonical.then(|| canonical(document));
    Ok(chat)
}

/// Reads a chat request of any wire format with `model`, `messages` and `stream` at the top level of the body.
/// Only the model's name needs an edit.
pub(crate) fn read_plain(
    body: &[u8],
    document: &Document<'_>,
) -> Result<ChatRequest, GatewayError> {
    let (mut chat, _) = read_parts(body, document)?;
    chat.wants_usage = true;
    Ok(chat)
}

/// Like [`read_plain`], for a conversation in `input`, a text or items. The provider stores the response unless the
/// request says otherwise.
pub(crate) fn read_responses(
    body: &[u8],
    document: &Document<'_>,
) -> Result<ChatRequest, GatewayError> {
    let top = read_top(body, document)?;
    let input = document.field(0, "input");
    let is_said = input.is_some_and(|at| {
        let mut items = document.elements(at);
        let has_items = items.as_mut().is_some_and(|all| all.next().is_some());
        has_items || document.text(at).is_some()
    });
    if !is_said {
        return Err(invalid(
            "input",
            "`input` is missing, or neither a string nor items",
        ));
    }
    let stores = top.store.and_then(|at| document.boolean(at)) != Some(false);
    let (mut chat, _) = of_top(document, top)?;
    (chat.wants_usage, chat.stores) = (true, stores);
    Ok(chat)
}

fn read_parts(
    body: &[u8],
    document: &Document<'_>,
) -> Result<(ChatRequest, StreamOptions), GatewayError> {
    let top = read_top(body, document)?;
    let messages = top
        .messages
        .ok_or_else(|| invalid("messages", "`messages` is missing"))?;
    let mut elements = document
        .elements(messages)
        .ok_or_else(|| invalid("messages", "`messages` must be an array"))?;
    if elements.next().is_none() {
        return Err(invalid("messages", "`messages` must not be empty"));
    }
    of_top(document, top)
}

/// The request's top-level fields, without the conversation.
fn of_top(document: &Document<'_>, top: Top) -> Result<(ChatRequest, StreamOptions), GatewayError> {
    let stream = match top.stream {
        None => false,
        Some(at) if document.is_null(at) => false,
        Some(at) => document
            .boolean(at)
            .ok_or_else(|| invalid("stream", "`stream` must be true or false"))?,
    };
    let chat = ChatRequest {
        model: top.model,
        model_range: top.model_range,
        stream,
        wants_usage: false,
        stores: top.store.and_then(|at| document.boolean(at)) == Some(true),
        state: None,
        usage_edit: None,
        shape: Shape {
            streams: stream,
            ..top.shape
        },
        routing_fields: top.routing_fields,
        canonical: None,
    };
    Ok((chat, top.stream_options))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocols::outgoing_request::write_body;

    fn read_it(json: &str) -> Result<ChatRequest, GatewayError> {
        read_chat(json.as_bytes(), &mut Scratch::default(), true)
    }

    fn sent(json: &str) -> String {
        let chat = read_it(json).unwrap();
        let mut out = Vec::new();
        write_body(
            json.as_bytes(),
            &chat.model_range,
            chat.usage_edit.as_ref(),
            "up",
            &mut out,
        );
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn only_the_model_changes_in_a_whole_request() {
        assert_eq!(
            sent(r#" { "messages" : [ {"x":1} ], "model":"a\u0041b" , "y": 1.50 }"#),
            r#" { "messages" : [ {"x":1} ], "model":"up" , "y": 1.50 }"#
        );
    }

    #[test]
    fn usage_is_requested_in_every_stream() {
        let m = r#""messages":[1],"model":"m""#;
        for (options, expected, wants) in [
            (
                "",
                r#"{"stream_options":{"include_usage":true},"stream":true"#,
                false,
            ),
            (
                r#","stream_options":null"#,
                r#"{"stream":true,"stream_options":{"include_usage":true}"#,
                false,
            ),
            (
                r#","stream_options": {}"#,
                r#"{"stream":true,"stream_options": {"include_usage":true}"#,
                false,
            ),
            (
                r#","stream_options":{"x":2}"#,
                r#"{"stream":true,"stream_options":{"include_usage":true,"x":2}"#,
                false,
            ),
            (
                r#","stream_options":{"x":2,"include_usage" : false}"#,
                r#"{"stream":true,"stream_options":{"x":2,"include_usage" : true}"#,
                false,
            ),
            (
                r#","stream_options":{"include_usage":true}"#,
                r#"{"stream":true,"stream_options":{"include_usage":true}"#,
                true,
            ),
        ] {
            let json = format!(r#"{{"stream":true{options},{m}}}"#);
            let out = sent(&json);
            assert!(out.starts_with(expected), "{out}");
            let value: serde_json::Value = serde_json::from_str(&out).unwrap();
            assert_eq!(value["stream_options"]["include_usage"], true);
            assert_eq!(value["model"], "up");
            assert_eq!(read_it(&json).unwrap().wants_usage, wants);
        }
    }

    #[test]
    fn bad_requests_name_the_field() {
        for (json, param) in [
            (r#"{"messages":[1]}"#, Some("model")),
            (r#"{"model":7,"messages":[1]}"#, Some("model")),
            (r#"{"model":"m"}"#, Some("messages")),
            (r#"{"model":"m","messages":[]}"#, Some("messages")),
            (r#"{"model":"m","messages":{}}"#, Some("messages")),
            (
                r#"{"model":"m","messages":[1],"stream":"yes"}"#,
                Some("stream"),
            ),
            (r#"{"model":"a","messages":[1],"model":"b"}"#, Some("model")),
            (r#"[1]"#, None),
        ] {
            let error = read_it(json).unwrap_err();
            assert_eq!(error.status, 400, "{json}");
            assert_eq!(error.param.as_deref(), param, "{json}");
        }
    }
}
