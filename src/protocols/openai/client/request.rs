//! Reads a chat completion request into the neutral form (OpenAI's `CreateChatCompletionRequest`).

use crate::error::code::ErrorCode;
use crate::error::gateway_error::GatewayError;
use crate::protocols::json::document::Document;
use crate::protocols::neutral::request::{
    Format, Message, Part, Request, Role, Source, Tool, ToolChoice,
};
use crate::protocols::neutral::unsupported_fields::UnsupportedFields;

/// Fields that do not influence the generated text: they are dropped and reported.
const IGNORED_FIELDS: [&str; 7] = [
    "store",
    "metadata",
    "service_tier",
    "prompt_cache_key",
    "prompt_cache_retention",
    "prompt_cache_options",
    "safety_identifier",
];

/// The default value of fields: a request with this value needs nothing from the provider.
const DEFAULTS: [(&str, &str); 7] = [
    ("store", "false"),
    ("metadata", "{}"),
    ("service_tier", "\"auto\""),
    ("service_tier", "\"default\""),
    ("modalities", "[\"text\"]"),
    ("logit_bias", "{}"),
    ("top_logprobs", "0"),
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
            "model" | "stream_options" => {}
            "messages" => request.messages = messages(document, value, unsupported)?,
            "stream" => request.stream = document.boolean(value) == Some(true),
            "max_completion_tokens" => sampling.max_tokens = Some(whole(document, value, name)?),
            "max_tokens" => {
                let given = whole(document, value, name)?;
                sampling.max_tokens.get_or_insert(given);
            }
            "temperature" => sampling.temperature = Some(number(document, value, name)?),
            "top_p" => sampling.top_p = Some(number(document, value, name)?),
            // Not a field of OpenAI, but many compatible servers accept it.
            "top_k" => sampling.top_k = Some(number(document, value, name)?),
            "frequency_penalty" => {
                sampling.frequency_penalty = Some(number(document, value, name)?);
            }
            "presence_penalty" => sampling.presence_penalty = Some(number(document, value, name)?),
            "seed" => sampling.seed = raw(),
            "n" => sampling.n = Some(whole(document, value, name)?).filter(|n| *n != 1),
            "logprobs" => sampling.logprobs = document.boolean(value) == Some(true),
            "top_logprobs" => sampling.top_logprobs = raw().filter(|raw| *raw != "0"),
            "logit_bias" => sampling.logit_bias = raw().filter(|raw| *raw != "{}"),
            "stop" => sampling.stop = stop(document, value)?,
            "tools" => request.tools = tools(document, value, unsupported)?,
            "tool_choice" => request.tool_choice = tool_choice(document, value)?,
            "parallel_tool_calls" => request.parallel_tools = document.boolean(value),
            "response_format" => request.format = format(document, value)?,
            "reasoning_effort" => request.reasoning.effort = document.text(value),
            "user" => request.user = document.text(value),
            _ if is_default(name, raw().unwrap_or_default()) => {}
            _ if IGNORED_FIELDS.contains(&name) => unsupported.note_dropped(name),
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

fn messages<'d>(
    document: &Document<'d>,
    list: usize,
    unsupported: &mut UnsupportedFields,
) -> Result<Vec<Message<'d>>, GatewayError> {
    let elements = document
        .elements(list)
        .ok_or_else(|| bad("messages", "must be an array"))?;
    let mut read: Vec<Message<'d>> = Vec::new();
    for (at, node) in elements.enumerate() {
        let path = format!("messages[{at}]");
        let role = document.text_of(node, "role").unwrap_or_default();
        if role == "tool" {
            let result = tool_result(document, node, &path, unsupported)?;
            // The results of one turn's calls belong to one message.
            match read.last_mut() {
                Some(last) if holds_results(last) => last.parts.push(result),
                _ => read.push(Message {
                    role: Role::User,
                    parts: vec![result],
                    at,
                }),
            }
            continue;
        }
        let role = match role {
            "system" => Role::System,
            "developer" => Role::Developer,
            "user" => Role::User,
            "assistant" => Role::Assistant,
            _ => return Err(bad(&format!("{path}.role"), "is not a supported role")),
        };
        let parts = message(document, node, &path, unsupported)?;
        read.push(Message { role, parts, at });
    }
    Ok(read)
}

fn holds_results(message: &Message<'_>) -> bool {
    matches!(message.parts.last(), Some(Part::ToolResult { .. }))
}

/// The parts of a message: thoughts before text, text before tool calls, the order in which models produce them.
fn message<'d>(
    document: &Document<'d>,
    node: usize,
    path: &str,
    unsupported: &mut UnsupportedFields,
) -> Result<Vec<Part<'d>>, GatewayError> {
    let mut parts = Vec::new();
    let thoughts = ["reasoning_content", "reasoning"];
    if let Some(blocks) = document.field(node, "thinking_blocks") {
        thinking_blocks(document, blocks, &mut parts);
    } else if let Some(text) = thoughts
        .iter()
        .find_map(|name| document.text_of(node, name))
    {
        parts.push(Part::Thinking {
            text,
            signature: None,
        });
    }
    for (name, value) in document.fields(node).into_iter().flatten() {
        if document.is_null(value) {
            continue;
        }
        let field = || format!("{path}.{name}");
        match name {
            "role"
            | "thinking_blocks"
            | "reasoning_content"
            | "reasoning"
            | "annotations"
            | "provider_specific_fields" => {}
            "content" => content(document, value, &field(), unsupported, &mut parts)?,
            "refusal" => parts.extend(document.text(value).map(Part::text)),
            "tool_calls" => {}
            // Mistral's SDK sends it with every message; false means that the response does not continue this
            // message.
            "prefix" if document.boolean(value) == Some(false) => {}
            _ => unsupported.reject_or_drop(&field())?,
        }
    }
    if let Some(calls) = document.field(node, "tool_calls") {
        for (at, call) in document.elements(calls).into_iter().flatten().enumerate() {
            parts.push(tool_call(
                document,
                call,
                &format!("{path}.tool_calls[{at}]"),
            )?);
        }
    }
    Ok(parts)
}

fn thinking_blocks<'d>(document: &Document<'d>, list: usize, parts: &mut Vec<Part<'d>>) {
    for block in document.elements(list).into_iter().flatten() {
        if let Some(data) = document.text_of(block, "data") {
            parts.push(Part::Redacted { data });
        } else {
            parts.push(Part::Thinking {
                text: document.text_of(block, "thinking").unwrap_or_default(),
                signature: document.text_of(block, "signature"),
            });
        }
    }
}

fn tool_call<'d>(
    document: &Document<'d>,
    call: usize,
    path: &str,
) -> Result<Part<'d>, GatewayError> {
    let function = document
        .field(call, "function")
        .ok_or_else(|| bad(path, "must be a function's call"))?;
    let name = document
        .text_of(function, "name")
        .ok_or_else(|| bad(&format!("{path}.function.name"), "is missing"))?;
    let arguments = document.text_of(function, "arguments").unwrap_or_default();
    Ok(Part::ToolCall {
        id: document.text_of(call, "id").unwrap_or_default(),
        name,
        arguments: if arguments.trim().is_empty() {
            "{}"
        } else {
            arguments
        },
        cache: document.raw_of(call, "cache_control"),
    })
}

fn tool_result<'d>(
    document: &Document<'d>,
    node: usize,
    path: &str,
    unsupported: &mut UnsupportedFields,
) -> Result<Part<'d>, GatewayError> {
    let id = document
        .text_of(node, "tool_call_id")
        .ok_or_else(|| bad(&format!("{path}.tool_call_id"), "is missing"))?;
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
    Ok(Part::ToolResult {
        id,
        is_error: false,
        parts,
        cache: document.raw_of(node, "cache_control"),
    })
}

fn content<'d>(
    document: &Document<'d>,
    value: usize,
    path: &str,
    unsupported: &mut UnsupportedFields,
    parts: &mut Vec<Part<'d>>,
) -> Result<(), GatewayError> {
    if let Some(text) = document.text(value) {
        // An empty text has no content, and some providers reject it.
        if !text.is_empty() {
            parts.push(Part::text(text));
        }
        return Ok(());
    }
    let elements = document
        .elements(value)
        .ok_or_else(|| bad(path, "must be a string or an array of parts"))?;
    for (at, node) in elements.enumerate() {
        let path = || format!("{path}[{at}]");
        match part(document, node) {
            Some(part) => parts.push(part),
            None => unsupported.reject_or_drop(&path())?,
        }
    }
    Ok(())
}

/// A part of a message; `None` if its type is unknown.
fn part<'d>(document: &Document<'d>, node: usize) -> Option<Part<'d>> {
    let cache = document.raw_of(node, "cache_control");
    let inner = |name| document.field(node, name);
    Some(match document.text_of(node, "type")? {
        "text" => Part::Text {
            text: document.text_of(node, "text")?,
            cache,
            citations: None,
        },
        "refusal" => Part::text(document.text_of(node, "refusal")?),
        "image_url" => {
            let image = inner("image_url")?;
            let url = document
                .text(image)
                .or_else(|| document.text_of(image, "url"))?;
            Part::Image {
                source: Source::from_url(url),
                detail: document.text_of(image, "detail"),
                cache,
            }
        }
        "file" => {
            let file = inner("file")?;
            let source = match document.text_of(file, "file_id") {
                Some(id) => Source::File(id),
                None => match Source::from_url(document.text_of(file, "file_data")?) {
                    // Bare base64, as the API's own description names it.
                    Source::Url(data) if !data.contains(':') => Source::Base64 {
                        media_type: "application/pdf",
                        data,
                    },
                    source => source,
                },
            };
            Part::Document {
                source,
                title: document.text_of(file, "filename"),
                cache,
            }
        }
        "input_audio" => {
            let audio = inner("input_audio")?;
            Part::Audio {
                data: document.text_of(audio, "data")?,
                format: document.text_of(audio, "format")?,
            }
        }
        _ => return None,
    })
}

fn tools<'d>(
    document: &Document<'d>,
    list: usize,
    unsupported: &mut UnsupportedFields,
) -> Result<Vec<Tool<'d>>, GatewayError> {
    let mut tools = Vec::new();
    for (at, node) in document.elements(list).into_iter().flatten().enumerate() {
        let function = document.field(node, "function");
        let name = function.and_then(|function| document.text_of(function, "name"));
        let (Some(function), Some(name)) = (function, name) else {
            unsupported.reject_or_drop(&format!("tools[{at}]"))?;
            continue;
        };
        tools.push(Tool {
            name,
            description: document.text_of(function, "description"),
            parameters: document.raw_of(function, "parameters"),
            strict: document
                .field(function, "strict")
                .and_then(|at| document.boolean(at)),
            cache: document.raw_of(node, "cache_control"),
        });
    }
    Ok(tools)
}

fn tool_choice<'d>(
    document: &Document<'d>,
    value: usize,
) -> Result<Option<ToolChoice<'d>>, GatewayError> {
    let choice = match document.text(value) {
        Some("auto") => Some(ToolChoice::Auto),
        Some("required") => Some(ToolChoice::Any),
        Some("none") => Some(ToolChoice::None),
        Some(_) => None,
        None => document
            .field(value, "function")
            .and_then(|function| document.text_of(function, "name"))
            .map(ToolChoice::Tool),
    };
    match choice {
        Some(choice) => Ok(Some(choice)),
        None => Err(bad("tool_choice", "is not a choice that can be translated")),
    }
}

fn format<'d>(document: &Document<'d>, value: usize) -> Result<Format<'d>, GatewayError> {
    match document.text_of(value, "type") {
        Some("text") => Ok(Format::Text),
        Some("json_object") => Ok(Format::JsonObject),
        Some("json_schema") => {
            let inner = document
                .field(value, "json_schema")
                .ok_or_else(|| bad("response_format.json_schema", "is missing"))?;
            Ok(Format::JsonSchema {
                name: document.text_of(inner, "name"),
                description: document.text_of(inner, "description"),
                schema: document.raw_of(inner, "schema").unwrap_or("{}"),
                strict: document
                    .field(inner, "strict")
                    .and_then(|at| document.boolean(at)),
            })
        }
        _ => Err(bad("response_format.type", "is not a supported format")),
    }
}

fn stop<'d>(document: &Document<'d>, value: usize) -> Result<Vec<&'d str>, GatewayError> {
    if let Some(text) = document.text(value) {
        return Ok(vec![text]);
    }
    let texts = document.elements(value).into_iter().flatten();
    texts
        .map(|at| document.text(at))
        .collect::<Option<Vec<_>>>()
        .ok_or_else(|| bad("stop", "must be a string or an array of strings"))
}

fn whole(document: &Document<'_>, value: usize, name: &str) -> Result<u64, GatewayError> {
    let number = document.unsigned(value);
    number.ok_or_else(|| bad(name, "must be a whole number"))
}

/// An unparsed number; the key's name is a string of the document.
fn number<'d>(
    document: &Document<'d>,
    value: usize,
    name: &'d str,
) -> Result<&'d str, GatewayError> {
    let raw = document.number(value).and_then(|_| document.raw(name));
    raw.ok_or_else(|| bad(name, "must be a number"))
}

fn bad(field: &str, what: &str) -> GatewayError {
    GatewayError::new(ErrorCode::InvalidRequest, format!("`{field}` {what}")).on(field.to_owned())
}
