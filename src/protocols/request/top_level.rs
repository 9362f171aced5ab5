//! The top level of a JSON body: the fields that route chat, completion, embedding and rerank requests.

use crate::error::code::ErrorCode;
use crate::error::gateway_error::GatewayError;
use crate::protocols::json::document::Document;
use crate::protocols::json::name_map::NameMap;
use crate::protocols::json::splice;
use crate::protocols::json::splice::Edit;
use crate::protocols::request::request_shape::Shape;
use crate::protocols::request::routing_fields;
use crate::protocols::request::routing_fields::RoutingFields;
use std::ops::Range;

/// The fields that route both chat and embedding requests.
pub(crate) struct Top {
    pub model: String,
    pub model_range: Range<usize>,
    pub stream: Option<usize>,
    pub messages: Option<usize>,
    pub shape: Shape,
    pub routing_fields: Option<Box<RoutingFields>>,
    pub store: Option<usize>,
    pub stream_options: StreamOptions,
}

/// Reads the top level. A field that occurs twice is rejected: two parsers could read different values, and a key
/// could reach a model that it may not use.
pub(crate) fn read_top(body: &[u8], document: &Document<'_>) -> Result<Top, GatewayError> {
    let fields = document.root_fields().ok_or_else(|| {
        GatewayError::new(ErrorCode::InvalidJson, "the body must be a JSON object")
    })?;
    let mut shape = Shape::default();
    let mut routing_fields: Option<Box<RoutingFields>> = None;
    let mut seen: NameMap<&str, ()> = NameMap::default();
    let (mut model, mut stream, mut messages, mut store) = (None, None, None, None);
    let mut stream_options = None;
    for (key, value) in fields {
        if seen.insert(key, ()).is_some() {
            return Err(invalid(
                key.to_owned(),
                format!("`{key}` occurs twice in the body"),
            ));
        }
        shape.field(document, key, value);
        match key {
            "model" => model = Some(value),
            "stream" => stream = Some(value),
            "messages" => messages = Some(value),
            "store" => store = Some(value),
            "stream_options" => {
                stream_options = document.offset_of(key).map(|offset| (offset, value));
            }
            _ if routing_fields::is_routing_field(key) => {
                let fields = routing_fields.get_or_insert_default();
                fields.field(document, key, value)?;
            }
            _ => {}
        }
    }
    let name = model
        .and_then(|at| document.text(at))
        .filter(|name| !name.is_empty())
        .ok_or_else(|| invalid("model", "`model` is missing or not a non-empty string"))?;
    let range = document
        .offset_of(name)
        .and_then(|start| Some(start..splice::string_end(body, start)?))
        .ok_or_else(|| {
            GatewayError::new(
                ErrorCode::InternalError,
                "the position of the model was not found",
            )
        })?;
    Ok(Top {
        model: name.to_owned(),
        model_range: range,
        stream,
        messages,
        shape,
        routing_fields,
        store,
        stream_options,
    })
}

/// The key's offset in the original and the value node of `stream_options`.
pub(crate) type StreamOptions = Option<(usize, usize)>;

/// Whether the client requests usage, and the edit that makes the provider send it in any case.
pub(crate) fn usage_option(
    body: &[u8],
    document: &Document<'_>,
    options: StreamOptions,
) -> Result<(bool, Option<Edit>), GatewayError> {
    let Some((key, value)) = options else {
        let at = splice::after_brace(body).unwrap_or_default();
        let edit = Edit {
            range: at..at,
            with: b"\"stream_options\":{\"include_usage\":true},".to_vec(),
        };
        return Ok((false, Some(edit)));
    };
    let not_found =
        || GatewayError::new(ErrorCode::InternalError, "`stream_options` was not found");
    let start = splice::value_start(body, key).ok_or_else(not_found)?;
    if document.is_null(value) {
        let edit = Edit {
            range: start..start + 4,
            with: b"{\"include_usage\":true}".to_vec(),
        };
        return Ok((false, Some(edit)));
    }
    let mut fields = document
        .fields(value)
        .ok_or_else(|| invalid("stream_options", "`stream_options` must be an object"))?
        .peekable();
    let empty = fields.peek().is_none();
    let Some((name, include_usage)) = fields.find(|(name, _)| *name == "include_usage") else {
        let with: &[u8] = if empty {
            b"\"include_usage\":true"
        } else {
            b"\"include_usage\":true,"
        };
        let edit = Edit {
            range: start + 1..start + 1,
            with: with.to_vec(),
        };
        return Ok((false, Some(edit)));
    };
    if document.boolean(include_usage) == Some(true) {
        return Ok((true, None));
    }
    let length = match document.boolean(include_usage) {
        Some(_) => "false".len(),
        None if document.is_null(include_usage) => "null".len(),
        None => {
            return Err(invalid(
                "stream_options.include_usage",
                "`stream_options.include_usage` must be true or false",
            ));
        }
    };
    let at = document
        .offset_of(name)
        .and_then(|offset| splice::value_start(body, offset))
        .ok_or_else(not_found)?;
    let edit = Edit {
        range: at..at + length,
        with: b"true".to_vec(),
    };
    Ok((false, Some(edit)))
}

pub(crate) fn invalid(
    param: impl Into<std::borrow::Cow<'static, str>>,
    message: impl Into<std::borrow::Cow<'static, str>>,
) -> GatewayError {
    GatewayError::new(ErrorCode::InvalidRequest, message).on(param)
}
