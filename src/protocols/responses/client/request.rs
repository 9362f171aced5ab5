//! Reads a Responses request into the neutral form (OpenAI's `CreateResponse`).

use crate::error::class::Retry;
use crate::error::code::ErrorCode;
use crate::error::gateway_error::GatewayError;
use crate::protocols::json::document::Document;
use crate::protocols::neutral::request::{
    Format, Message, Part, Request, Role, Source, Tool, ToolChoice,
};
use crate::protocols::neutral::unsupported_fields::UnsupportedFields;

/// Fields that do not influence the generated text: they are dropped and reported.
const IGNORED_FIELDS: [&str; 8] = [
    "store",
    "metadata",
    "service_tier",
    "prompt_cache_key",
    "prompt_cache_retention",
    "prompt_cache_options",
    "safety_identifier",
    "moderation",
];

/// The default value of fields: a request with this value needs nothing from the provider.
const DEFAULTS: [(&str, &str); 12] = [
    ("store", "false"),
    ("metadata", "{}"),
    ("service_tier", "\"auto\""),
    ("service_tier", "\"default\""),
    ("truncation", "\"disabled\""),
    ("top_logprobs", "0"),
    ("background", "false"),
    ("include", "[]"),
    ("include", "[\"reasoning.encrypted_content\"]"),
    ("stream_options", "{}"),
    ("stream_options", "{\"include_obfuscation\":false}"),
    ("stream_options", "{\"include_obfuscation\":true}"),
];

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
        let raw = || document.raw(name);
        let sampling = &mut request.sampling;
        match name {
            "model" => {}
            "input" => input(document, value, unsupported, &mut request.messages)?,
            "instructions" => {
                let text = document.text(value);
                let text = text.ok_or_else(|| bad(name, "must be a string"))?;
                let system = Message {
                    role: Role::System,
                    parts: vec![Part::text(text)],
                    at: 0,
                };
                request.messages.insert(0, system);
            }
            "stream" => request.stream = document.boolean(value) == Some(true),
            "max_output_tokens" => {
                let tokens = document.unsigned(value);
                sampling.max_tokens =
                    Some(tokens.ok_or_else(|| bad(name, "must be a whole number"))?);
            }
            "temperature" | "top_p" => {
                let number = document.number(value).and_then(|_| raw());
                let number = number.ok_or_else(|| bad(name, "must be a number"))?;
                match name {
                    "top_p" => sampling.top_p = Some(number),
                    _ => sampling.temperature = Some(number),
                }
            }
            "tools" => request.tools = tools(document, value, unsupported)?,
            "tool_choice" => request.tool_choice = tool_choice(document, value, unsupported)?,
            "parallel_tool_calls" => request.parallel_tools = document.boolean(value),
            "text" => request.format = text_format(document, value, unsupported)?,
            "reasoning" => request.reasoning.effort = document.text_of(value, "effort"),
            "user" => request.user = document.text(value),
            _ if is_default(name, raw().unwrap_or_default()) => {}
            _ if IGNORED_FIELDS.contains(&name) => unsupported.note_dropped(name),
            // Rejected in any configuration: without this field the request would be a different question.
            "prompt" => return Err(not_portable(name)),
            _ => unsupported.reject_or_drop(name)?,
        }
    }
    Ok(request)
}

fn is_default(name: &str, raw: &str) -> bool {
    let compact = || raw.split_ascii_whitespace().collect::<String>();
    let mut known = DEFAULTS.iter().filter(|(field, _)| *field == name);
    known.any(|(_, value)| *value == compact())
}

fn not_portable(name: &str) -> GatewayError {
    let message = format!(
        "`{name}` refers to data that OpenAI stores; the model's provider does not have it"
    );
    GatewayError {
        retry: Retry::OnNextTarget,
        ..GatewayError::new(ErrorCode::UnsupportedFields, message).on(name.to_owned())
    }
}

/// The conversation: a text, or items.
fn input<'d>(
    document: &Document<'d>,
    value: usize,
    unsupported: &mut UnsupportedFields,
    messages: &mut Vec<Message<'d>>,
) -> Result<(), GatewayError> {
    if let Some(text) = document.text(value) {
        messages.push(Message {
            role: Role::User,
            parts: vec![Part::text(text)],
            at: 0,
        });
        return Ok(());
    }
    let elements = document
        .elements(value)
        .ok_or_else(|| bad("input", "must be a string or an array of items"))?;
    for (at, node) in elements.enumerate() {
        let path = format!("input[{at}]");
        let text = |name| document.text_of(node, name);
        let (role, parts) = match text("type").unwrap_or("message") {
            "message" => message(document, node, &path, unsupported)?,
            "function_call" => (Role::Assistant, vec![call(document, node, &path)?]),
            "function_call_output" => (
                Role::User,
                vec![call_output(document, node, &path, unsupported)?],
            ),
            "reasoning" => (Role::Assistant, vec![thought(document, node)]),
            _ => {
                unsupported.reject_or_drop(&path)?;
                continue;
            }
        };
        // The text and tool calls of one turn are separate items, and so are the results of its calls.
        let is_one_turn = |last: &Message<'_>| {
            let is_result = |part: Option<&Part<'_>>| matches!(part, Some(Part::ToolResult { .. }));
            let continues = is_result(last.parts.last()) && is_result(parts.first());
            last.role == role && (role == Role::Assistant || continues)
        };
        match messages.last_mut() {
            Some(last) if is_one_turn(last) => last.parts.extend(parts),
            _ => messages.push(Message { role, parts, at }),
        }
    }
    Ok(())
}

fn message<'d>(
    document: &Document<'d>,
    node: usize,
    path: &str,
    unsupported: &mut UnsupportedFields,
) -> Result<(Role, Vec<Part<'d>>), GatewayError> {
    let role = match document.text_of(node, "role") {
        Some("user") => Role::User,
        Some("assistant") => Role::Assistant,
        Some("system") => Role::System,
        Some("developer") => Role::Developer,
        _ => return Err(bad(&format!("{path}.role"), "is not a supported role")),
    };
    let path = format!("{path}.content");
    let value = document
        .field(node, "content")
        .ok_or_else(|| bad(&path, "is missing"))?;
    Ok((role, content(document, value, &path, unsupported)?))
}

/// A text, or parts.
fn content<'d>(
    document: &Document<'d>,
    value: usize,
    path: &str,
    unsupported: &mut UnsupportedFields,
) -> Result<Vec<Part<'d>>, GatewayError> {
    if let Some(text) = document.text(value) {
        return Ok(vec![Part::text(text)]);
    }
    let elements = document
        .elements(value)
        .ok_or_else(|| bad(path, "must be a string or an array of parts"))?;
    let mut parts = Vec::new();
    for (at, node) in elements.enumerate() {
        match part(document, node) {
            Some(part) => parts.push(part),
            None => unsupported.reject_or_drop(&format!("{path}[{at}]"))?,
        }
    }
    Ok(parts)
}

/// A part of a message; `None` if its type is unknown.
fn part<'d>(document: &Document<'d>, node: usize) -> Option<Part<'d>> {
    let text = |name| document.text_of(node, name);
    Some(match text("type")? {
        "input_text" | "output_text" | "text" => Part::Text {
            text: text("text")?,
            cache: document.raw_of(node, "cache_control"),
            citations: None,
        },
        "refusal" => Part::text(text("refusal")?),
        "input_image" => Part::Image {
            source: match text("file_id") {
                Some(id) => Source::File(id),
                None => Source::from_url(text("image_url")?),
            },
            detail: text("detail"),
            cache: None,
        },
        "input_file" => Part::Document {
            source: match (text("file_id"), text("file_url")) {
                (Some(id), _) => Source::File(id),
                (None, Some(url)) => Source::Url(url),
                (None, None) => match Source::from_url(text("file_data")?) {
                    // Bare base64, as the API's own description names it.
                    Source::Url(data) if !data.contains(':') => Source::Base64 {
                        media_type: "application/pdf",
                        data,
                    },
                    source => source,
                },
            },
            title: text("filename"),
            cache: None,
        },
        "input_audio" => {
            let audio = document.field(node, "input_audio")?;
            Part::Audio {
                data: document.text_of(audio, "data")?,
                format: document.text_of(audio, "format")?,
            }
        }
        _ => return None,
    })
}

fn call<'d>(document: &Document<'d>, node: usize, path: &str) -> Result<Part<'d>, GatewayError> {
    let text = |name| document.text_of(node, name);
    let name = text("name").ok_or_else(|| bad(&format!("{path}.name"), "is missing"))?;
    let arguments = text("arguments").unwrap_or_default();
    Ok(Part::ToolCall {
        id: text("call_id").unwrap_or_default(),
        name,
        arguments: if arguments.trim().is_empty() {
            "{}"
        } else {
            arguments
        },
        cache: None,
    })
}

fn call_output<'d>(
    document: &Document<'d>,
    node: usize,
    path: &str,
    unsupported: &mut UnsupportedFields,
) -> Result<Part<'d>, GatewayError> {
    let id = document
        .text_of(node, "call_id")
        .ok_or_else(|| bad(&format!("{path}.call_id"), "is missing"))?;
    let path = format!("{path}.output");
    let value = document
        .field(node, "output")
        .ok_or_else(|| bad(&path, "is missing"))?;
    Ok(Part::ToolResult {
        id,
        is_error: false,
        parts: content(document, value, &path, unsupported)?,
        cache: None,
    })
}

/// A thought in the form that `response.rs` writes: text and signature, text alone, or encrypted.
fn thought<'d>(document: &Document<'d>, node: usize) -> Part<'d> {
    let seal = document.text_of(node, "encrypted_content");
    let texts = document.field(node, "summary");
    let mut texts = texts.and_then(|at| document.elements(at));
    let first = texts.as_mut().and_then(Iterator::next);
    match (first.and_then(|at| document.text_of(at, "text")), seal) {
        (None, Some(data)) => Part::Redacted { data },
        (text, signature) => Part::Thinking {
            text: text.unwrap_or_default(),
            signature,
        },
    }
}

fn tools<'d>(
    document: &Document<'d>,
    list: usize,
    unsupported: &mut UnsupportedFields,
) -> Result<Vec<Tool<'d>>, GatewayError> {
    let mut tools = Vec::new();
    for (at, node) in document.elements(list).into_iter().flatten().enumerate() {
        let is_function = document.text_of(node, "type") == Some("function");
        let name = document.text_of(node, "name").filter(|_| is_function);
        let Some(name) = name else {
            // A tool that the provider runs.
            unsupported.reject_or_drop(&format!("tools[{at}]"))?;
            continue;
        };
        tools.push(Tool {
            name,
            description: document.text_of(node, "description"),
            parameters: document.raw_of(node, "parameters"),
            strict: document
                .field(node, "strict")
                .and_then(|at| document.boolean(at)),
            cache: document.raw_of(node, "cache_control"),
        });
    }
    Ok(tools)
}

fn tool_choice<'d>(
    document: &Document<'d>,
    value: usize,
    unsupported: &mut UnsupportedFields,
) -> Result<Option<ToolChoice<'d>>, GatewayError> {
    Ok(match document.text(value) {
        Some("auto") => Some(ToolChoice::Auto),
        Some("required") => Some(ToolChoice::Any),
        Some("none") => Some(ToolChoice::None),
        Some(_) => return Err(bad("tool_choice", "is not a supported choice")),
        None => {
            let is_function = document.text_of(value, "type") == Some("function");
            let name = document.text_of(value, "name").filter(|_| is_function);
            if name.is_none() {
                unsupported.reject_or_drop("tool_choice")?;
            }
            name.map(ToolChoice::Tool)
        }
    })
}

fn text_format<'d>(
    document: &Document<'d>,
    value: usize,
    unsupported: &mut UnsupportedFields,
) -> Result<Format<'d>, GatewayError> {
    let verbosity = document.text_of(value, "verbosity");
    if verbosity.is_some_and(|word| word != "medium") {
        unsupported.reject_or_drop("text.verbosity")?;
    }
    let Some(format) = document.field(value, "format") else {
        return Ok(Format::Text);
    };
    match document.text_of(format, "type") {
        Some("text") => Ok(Format::Text),
        Some("json_object") => Ok(Format::JsonObject),
        Some("json_schema") => Ok(Format::JsonSchema {
            name: document.text_of(format, "name"),
            description: document.text_of(format, "description"),
            schema: document.raw_of(format, "schema").unwrap_or("{}"),
            strict: document
                .field(format, "strict")
                .and_then(|at| document.boolean(at)),
        }),
        _ => Err(bad("text.format.type", "is not a supported format")),
    }
}

fn bad(field: &str, what: &str) -> GatewayError {
    GatewayError::new(ErrorCode::InvalidRequest, format!("`{field}` {what}")).on(field.to_owned())
}
