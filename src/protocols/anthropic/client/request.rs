//! Reads a Messages request into the neutral form (Anthropic's `MessageCreateParams`).

use crate::error::code::ErrorCode;
use crate::error::gateway_error::GatewayError;
use crate::protocols::anthropic::vocabulary::CACHE_MARKER;
use crate::protocols::json::document::Document;
use crate::protocols::neutral::request::{
    Format, Message, Part, Reasoning, Request, Role, Source, Tool, ToolChoice,
};
use crate::protocols::neutral::unsupported_fields::UnsupportedFields;

/// Fields that do not influence the generated text: they are dropped and reported.
const IGNORED_FIELDS: [&str; 4] = ["service_tier", "inference_geo", "speed", "diagnostics"];

/// Reads a request.
///
/// # Errors
/// 400 that names a field that is malformed or that the neutral form lacks.
pub(crate) fn read<'d>(
    document: &Document<'d>,
    unsupported: &mut UnsupportedFields,
) -> Result<Request<'d>, GatewayError> {
    let mut request = Request::default();
    for (name, value) in document.root_fields().into_iter().flatten() {
        if document.is_null(value) {
            continue;
        }
        let sampling = &mut request.sampling;
        match name {
            "model" => {}
            "messages" => read_messages(document, value, unsupported, &mut request.messages)?,
            "system" => {
                let mut parts = Vec::new();
                content(document, value, "system", unsupported, &mut parts)?;
                let system = Message {
                    role: Role::System,
                    parts,
                    at: 0,
                };
                request.messages.insert(0, system);
            }
            "max_tokens" => {
                let tokens = document.unsigned(value);
                sampling.max_tokens =
                    Some(tokens.ok_or_else(|| bad(name, "must be a whole number"))?);
            }
            "temperature" => sampling.temperature = document.raw(name),
            "top_p" => sampling.top_p = document.raw(name),
            "top_k" => sampling.top_k = document.raw(name),
            "stop_sequences" => {
                let texts = document.elements(value).into_iter().flatten();
                sampling.stop = texts.filter_map(|at| document.text(at)).collect();
            }
            "stream" => request.stream = document.boolean(value) == Some(true),
            "tools" => request.tools = tools(document, value, unsupported)?,
            "tool_choice" => tool_choice(document, value, &mut request)?,
            "metadata" => metadata(document, value, &mut request, unsupported)?,
            "thinking" => request.reasoning.budget_tokens = thinking(document, value),
            "output_config" => output_config(document, value, &mut request, unsupported)?,
            CACHE_MARKER => unsupported.note_dropped(name),
            _ if IGNORED_FIELDS.contains(&name) => unsupported.note_dropped(name),
            _ => unsupported.reject_or_drop(name)?,
        }
    }
    Ok(request)
}

fn read_messages<'d>(
    document: &Document<'d>,
    list: usize,
    unsupported: &mut UnsupportedFields,
    messages: &mut Vec<Message<'d>>,
) -> Result<(), GatewayError> {
    let elements = document
        .elements(list)
        .ok_or_else(|| bad("messages", "must be an array"))?;
    for (at, node) in elements.enumerate() {
        let path = format!("messages[{at}]");
        let role = match document.text_of(node, "role") {
            Some("user") => Role::User,
            Some("assistant") => Role::Assistant,
            Some("system") => Role::System,
            _ => return Err(bad(&format!("{path}.role"), "is not a supported role")),
        };
        let mut parts = Vec::new();
        let value = document
            .field(node, "content")
            .ok_or_else(|| bad(&format!("{path}.content"), "is missing"))?;
        content(
            document,
            value,
            &format!("{path}.content"),
            unsupported,
            &mut parts,
        )?;
        messages.push(Message { role, parts, at });
    }
    Ok(())
}

fn content<'d>(
    document: &Document<'d>,
    value: usize,
    path: &str,
    unsupported: &mut UnsupportedFields,
    parts: &mut Vec<Part<'d>>,
) -> Result<(), GatewayError> {
    if let Some(text) = document.text(value) {
        parts.push(Part::text(text));
        return Ok(());
    }
    let elements = document
        .elements(value)
        .ok_or_else(|| bad(path, "must be a string or an array of blocks"))?;
    for (at, node) in elements.enumerate() {
        let path = format!("{path}[{at}]");
        match block(document, node, &path, unsupported)? {
            Some(part) => parts.push(part),
            None => unsupported.reject_or_drop(&path)?,
        }
    }
    Ok(())
}

/// A content block; `None` if its type is unknown.
fn block<'d>(
    document: &Document<'d>,
    node: usize,
    path: &str,
    unsupported: &mut UnsupportedFields,
) -> Result<Option<Part<'d>>, GatewayError> {
    let cache = document.raw_of(node, CACHE_MARKER);
    let text = |name| document.text_of(node, name);
    let source = || source(document, document.field(node, "source")?);
    Ok(match text("type").unwrap_or_default() {
        "text" => text("text").map(|text| Part::Text {
            text,
            cache,
            citations: document.raw_of(node, "citations"),
        }),
        "image" => source().map(|source| Part::Image {
            source,
            detail: None,
            cache,
        }),
        "document" => {
            for name in ["citations", "context"] {
                if document.raw_of(node, name).is_some() {
                    unsupported.reject_or_drop(&format!("{path}.{name}"))?;
                }
            }
            source().map(|source| Part::Document {
                source,
                title: text("title"),
                cache,
            })
        }
        "tool_use" => {
            let input = document.raw_of(node, "input").unwrap_or("{}");
            text("id")
                .zip(text("name"))
                .map(|(id, name)| Part::ToolCall {
                    id,
                    name,
                    arguments: input,
                    cache,
                })
        }
        "tool_result" => {
            let mut parts = Vec::new();
            if let Some(value) = document.field(node, "content") {
                content(
                    document,
                    value,
                    &format!("{path}.content"),
                    unsupported,
                    &mut parts,
                )?;
            }
            let is_error = document.field(node, "is_error");
            text("tool_use_id").map(|id| Part::ToolResult {
                id,
                is_error: is_error.and_then(|at| document.boolean(at)) == Some(true),
                parts,
                cache,
            })
        }
        "thinking" => text("thinking").map(|thought| Part::Thinking {
            text: thought,
            signature: text("signature").filter(|seal| !seal.is_empty()),
        }),
        "redacted_thinking" => text("data").map(|data| Part::Redacted { data }),
        _ => None,
    })
}

fn source<'d>(document: &Document<'d>, node: usize) -> Option<Source<'d>> {
    let text = |name| document.text_of(node, name);
    match text("type")? {
        "base64" => Some(Source::Base64 {
            media_type: text("media_type")?,
            data: text("data")?,
        }),
        "url" => text("url").map(Source::Url),
        "text" => text("data").map(Source::Text),
        "file" => text("file_id").map(Source::File),
        _ => None,
    }
}

fn tools<'d>(
    document: &Document<'d>,
    list: usize,
    unsupported: &mut UnsupportedFields,
) -> Result<Vec<Tool<'d>>, GatewayError> {
    let mut tools = Vec::new();
    for (at, node) in document.elements(list).into_iter().flatten().enumerate() {
        let kind = document.text_of(node, "type").unwrap_or("custom");
        let (Some(name), "custom") = (document.text_of(node, "name"), kind) else {
            // A tool that the provider runs.
            unsupported.reject_or_drop(&format!("tools[{at}]"))?;
            continue;
        };
        tools.push(Tool {
            name,
            description: document.text_of(node, "description"),
            parameters: document.raw_of(node, "input_schema"),
            strict: document
                .field(node, "strict")
                .and_then(|at| document.boolean(at)),
            cache: document.raw_of(node, CACHE_MARKER),
        });
    }
    Ok(tools)
}

fn tool_choice<'d>(
    document: &Document<'d>,
    value: usize,
    request: &mut Request<'d>,
) -> Result<(), GatewayError> {
    let name = document.text_of(value, "name");
    request.tool_choice = Some(match (document.text_of(value, "type"), name) {
        (Some("auto"), _) => ToolChoice::Auto,
        (Some("any"), _) => ToolChoice::Any,
        (Some("none"), _) => ToolChoice::None,
        (Some("tool"), Some(name)) => ToolChoice::Tool(name),
        _ => return Err(bad("tool_choice", "is not a choice that can be translated")),
    });
    let serial = document.field(value, "disable_parallel_tool_use");
    if let Some(serial) = serial.and_then(|at| document.boolean(at)) {
        request.parallel_tools = Some(!serial);
    }
    Ok(())
}

fn metadata<'d>(
    document: &Document<'d>,
    value: usize,
    request: &mut Request<'d>,
    unsupported: &mut UnsupportedFields,
) -> Result<(), GatewayError> {
    for (name, value) in document.fields(value).into_iter().flatten() {
        if name == "user_id" {
            request.user = document.text(value);
        } else {
            unsupported.reject_or_drop(&format!("metadata.{name}"))?;
        }
    }
    Ok(())
}

/// The thinking budget: 0 if thinking is off, `None` if the model decides.
fn thinking(document: &Document<'_>, value: usize) -> Option<u64> {
    match document.text_of(value, "type") {
        Some("disabled") => Some(0),
        _ => document.unsigned_of(value, "budget_tokens"),
    }
}

fn output_config<'d>(
    document: &Document<'d>,
    value: usize,
    request: &mut Request<'d>,
    unsupported: &mut UnsupportedFields,
) -> Result<(), GatewayError> {
    for (name, value) in document.fields(value).into_iter().flatten() {
        if document.is_null(value) {
            continue;
        }
        match name {
            "effort" => {
                request.reasoning = Reasoning {
                    effort: document.text(value),
                    ..request.reasoning
                };
            }
            "format" => match document.raw_of(value, "schema") {
                Some(schema) => {
                    request.format = Format::JsonSchema {
                        name: None,
                        description: None,
                        schema,
                        strict: Some(true),
                    };
                }
                None => return Err(bad("output_config.format.schema", "is missing")),
            },
            _ => unsupported.reject_or_drop(&format!("output_config.{name}"))?,
        }
    }
    Ok(())
}

fn bad(field: &str, what: &str) -> GatewayError {
    GatewayError::new(ErrorCode::InvalidRequest, format!("`{field}` {what}")).on(field.to_owned())
}
