//! Writes a Messages request from the neutral form.

use crate::error::gateway_error::GatewayError;
use crate::protocols::anthropic::vocabulary::CACHE_MARKER;
use crate::protocols::json::write::{key, number, open, open_field, raw, raw_if, text, texts_if};
use crate::protocols::neutral::request::{
    Format, Message, Part, Reasoning, Request, Role, Sampling, Source, ToolChoice,
};
use crate::protocols::neutral::tool_arguments::{is_object, write_input};
use crate::protocols::neutral::turns::write_turns;
use crate::protocols::neutral::unsupported_fields::UnsupportedFields;

/// `max_tokens` if the client sets no limit, because this API requires one. Every model accepts this value
/// (Anthropic's table of models: the smallest limit is 4096).
const MAX_TOKENS_DEFAULT: u64 = 4096;

/// The schema of a tool without arguments, because this API requires a schema.
const NO_PARAMETERS: &str = "{\"type\":\"object\",\"properties\":{}}";

/// The first field of a body: the model's name, or the field that replaces it.
#[derive(Clone, Copy)]
pub(crate) struct FirstField<'f> {
    pub name: &'f str,
    pub value: &'f str,
}

/// Appends the body of a request.
///
/// # Errors
/// 400 that names a field that this API does not support.
pub(crate) fn write(
    request: &Request<'_>,
    first: FirstField<'_>,
    unsupported: &mut UnsupportedFields,
    out: &mut Vec<u8>,
) -> Result<(), GatewayError> {
    out.push(b'{');
    text(out, first.name, first.value);
    let max_tokens = request.sampling.max_tokens.unwrap_or_else(|| {
        let thinking = request.reasoning.budget_tokens.unwrap_or(0);
        MAX_TOKENS_DEFAULT.saturating_add(thinking)
    });
    number(out, "max_tokens", max_tokens);
    let is_system = |message: &&Message<'_>| is_system(message.role);
    let leading = request.messages.iter().take_while(is_system).count();
    let (system, rest) = request
        .messages
        .split_at_checked(leading)
        .unwrap_or((&[], &request.messages));
    write_system(system, unsupported, out)?;
    write_turns(rest, out, |part, at, out| {
        write_block(part, at, unsupported, out)
    })?;
    write_tools(request, unsupported, out);
    write_output(request, unsupported, out)?;
    write_sampling(&request.sampling, unsupported, out)?;
    if let Some(user) = request.user {
        open_field(out, "metadata", b'{');
        text(out, "user_id", user);
        out.push(b'}');
    }
    if request.stream {
        raw(out, "stream", "true");
    }
    out.push(b'}');
    Ok(())
}

fn is_system(role: Role) -> bool {
    matches!(role, Role::System | Role::Developer)
}

/// The top-level system prompt: the system messages before the conversation.
fn write_system(
    system: &[Message<'_>],
    unsupported: &mut UnsupportedFields,
    out: &mut Vec<u8>,
) -> Result<(), GatewayError> {
    let parts = || system.iter().flat_map(|message| &message.parts);
    let mut first_two = parts();
    match (first_two.next(), first_two.next()) {
        (None, _) => {}
        (
            Some(Part::Text {
                text: words,
                cache: None,
                ..
            }),
            None,
        ) => text(out, "system", words),
        _ => {
            open_field(out, "system", b'[');
            for message in system {
                for part in &message.parts {
                    write_block(part, message.at, unsupported, out)?;
                }
            }
            out.push(b']');
        }
    }
    Ok(())
}

fn write_block(
    part: &Part<'_>,
    at: usize,
    unsupported: &mut UnsupportedFields,
    out: &mut Vec<u8>,
) -> Result<(), GatewayError> {
    let mut marker = None;
    match part {
        // The API rejects an empty text.
        Part::Text { text: "", .. } => return Ok(()),
        Part::Text {
            text: words, cache, ..
        } => {
            open(out, b'{');
            text(out, "type", "text");
            text(out, "text", words);
            marker = *cache;
        }
        Part::Image { .. } | Part::Document { .. } => {
            return write_file(part, at, unsupported, out);
        }
        Part::Audio { .. } => {
            return unsupported.reject_or_drop(&format!("messages[{at}].content.input_audio"));
        }
        Part::ToolCall {
            id,
            name,
            arguments,
            cache,
        } => {
            write_tool_use(id, name, arguments, out);
            marker = *cache;
        }
        Part::ToolResult {
            id,
            is_error,
            parts,
            cache,
        } => {
            write_result(id, *is_error, parts, at, unsupported, out)?;
            marker = *cache;
        }
        Part::Thinking {
            text: thought,
            signature: Some(signature),
        } => {
            open(out, b'{');
            text(out, "type", "thinking");
            text(out, "thinking", thought);
            text(out, "signature", signature);
        }
        // Every provider rejects a thought without its signature.
        Part::Thinking { .. } => {
            unsupported.note_dropped("thinking");
            return Ok(());
        }
        Part::Redacted { data } => {
            open(out, b'{');
            text(out, "type", "redacted_thinking");
            text(out, "data", data);
        }
    }
    raw_if(out, CACHE_MARKER, marker);
    out.push(b'}');
    Ok(())
}

/// Appends a tool call and leaves its object open for the cache marker.
fn write_tool_use(id: &str, name: &str, arguments: &str, out: &mut Vec<u8>) {
    open(out, b'{');
    text(out, "type", "tool_use");
    write_tool_id("id", id, out);
    text(out, "name", name);
    key(out, "input");
    write_input(arguments, out);
}

/// Appends an image or a document.
fn write_file(
    part: &Part<'_>,
    at: usize,
    unsupported: &mut UnsupportedFields,
    out: &mut Vec<u8>,
) -> Result<(), GatewayError> {
    let (kind, field, source, title, cache) = match part {
        Part::Image {
            source,
            detail,
            cache,
        } => {
            if detail.is_some_and(|detail| detail != "auto") {
                unsupported.note_dropped("detail");
            }
            ("image", "image_url", source, None, cache)
        }
        Part::Document {
            source,
            title,
            cache,
        } => ("document", "file", source, *title, cache),
        _ => return Ok(()),
    };
    // A file belongs to the provider that it was uploaded to.
    if matches!(source, Source::File(_)) {
        return unsupported.reject_or_drop(&format!("messages[{at}].content.{field}"));
    }
    open(out, b'{');
    text(out, "type", kind);
    write_source(source, out);
    if let Some(title) = title {
        text(out, "title", title);
    }
    raw_if(out, CACHE_MARKER, *cache);
    out.push(b'}');
    Ok(())
}

/// Appends a tool's result and leaves its object open for the cache marker.
fn write_result(
    id: &str,
    is_error: bool,
    parts: &[Part<'_>],
    at: usize,
    unsupported: &mut UnsupportedFields,
    out: &mut Vec<u8>,
) -> Result<(), GatewayError> {
    open(out, b'{');
    text(out, "type", "tool_result");
    write_tool_id("tool_use_id", id, out);
    match parts {
        [
            Part::Text {
                text: words,
                cache: None,
                ..
            },
        ] => text(out, "content", words),
        [] => {}
        parts => {
            open_field(out, "content", b'[');
            for part in parts {
                write_block(part, at, unsupported, out)?;
            }
            out.push(b']');
        }
    }
    if is_error {
        raw(out, "is_error", "true");
    }
    Ok(())
}

fn write_source(source: &Source<'_>, out: &mut Vec<u8>) {
    open_field(out, "source", b'{');
    match source {
        Source::Url(url) => {
            text(out, "type", "url");
            text(out, "url", url);
        }
        Source::Base64 { media_type, data } => {
            text(out, "type", "base64");
            text(out, "media_type", media_type);
            text(out, "data", data);
        }
        Source::Text(words) => {
            text(out, "type", "text");
            text(out, "media_type", "text/plain");
            text(out, "data", words);
        }
        Source::File(id) => {
            text(out, "type", "file");
            text(out, "file_id", id);
        }
    }
    out.push(b'}');
}

/// Ids of calls may contain only letters, digits, `_` and `-` (`^[a-zA-Z0-9_-]+$` in the API's schema). Ids of other
/// providers are converted, in the same way in the call and in its result.
fn write_tool_id(name: &str, id: &str, out: &mut Vec<u8>) {
    let fits = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '_' | '-');
    if id.chars().all(fits) {
        text(out, name, id);
    } else {
        let id: String = id
            .chars()
            .map(|letter| if fits(letter) { letter } else { '_' })
            .collect();
        text(out, name, &id);
    }
}

fn write_tools(request: &Request<'_>, unsupported: &mut UnsupportedFields, out: &mut Vec<u8>) {
    if request.tools.is_empty() {
        return;
    }
    open_field(out, "tools", b'[');
    for tool in &request.tools {
        open(out, b'{');
        text(out, "name", tool.name);
        if let Some(description) = tool.description {
            text(out, "description", description);
        }
        let schema = tool.parameters.filter(|schema| is_object(schema));
        if schema.is_none() && tool.parameters.is_some() {
            unsupported.note_dropped("tools.parameters");
        }
        // This API requires an object schema; OpenAI's API accepts `{}` instead.
        raw(
            out,
            "input_schema",
            schema
                .filter(|schema| *schema != "{}")
                .unwrap_or(NO_PARAMETERS),
        );
        if tool.strict == Some(true) {
            raw(out, "strict", "true");
        }
        raw_if(out, CACHE_MARKER, tool.cache);
        out.push(b'}');
    }
    out.push(b']');
    let serial = request.parallel_tools == Some(false);
    let choice = match request.tool_choice {
        None if serial => ToolChoice::Auto,
        None => return,
        Some(choice) => choice,
    };
    open_field(out, "tool_choice", b'{');
    match choice {
        ToolChoice::Auto => text(out, "type", "auto"),
        ToolChoice::Any => text(out, "type", "any"),
        ToolChoice::None => text(out, "type", "none"),
        ToolChoice::Tool(name) => {
            text(out, "type", "tool");
            text(out, "name", name);
        }
    }
    if serial && choice != ToolChoice::None {
        raw(out, "disable_parallel_tool_use", "true");
    }
    out.push(b'}');
}

/// Appends the response format and the reasoning effort.
fn write_output(
    request: &Request<'_>,
    unsupported: &mut UnsupportedFields,
    out: &mut Vec<u8>,
) -> Result<(), GatewayError> {
    let Reasoning {
        effort,
        budget_tokens,
    } = request.reasoning;
    let effort = match effort {
        Some("minimal") => Some("low"),
        effort => effort,
    };
    match (effort, budget_tokens) {
        (Some("none"), _) | (None, Some(0)) => raw(out, "thinking", "{\"type\":\"disabled\"}"),
        (_, Some(budget)) => {
            open_field(out, "thinking", b'{');
            text(out, "type", "enabled");
            number(out, "budget_tokens", budget);
            out.push(b'}');
        }
        (Some(_), None) => raw(out, "thinking", "{\"type\":\"adaptive\"}"),
        (None, None) => {}
    }
    let effort = effort.filter(|effort| *effort != "none");
    let schema = match request.format {
        Format::Text => None,
        Format::JsonObject => {
            unsupported.reject_or_drop("response_format")?;
            None
        }
        Format::JsonSchema {
            schema,
            description,
            ..
        } => {
            if description.is_some() {
                unsupported.note_dropped("response_format.json_schema.description");
            }
            Some(schema)
        }
    };
    if effort.is_none() && schema.is_none() {
        return Ok(());
    }
    open_field(out, "output_config", b'{');
    if let Some(effort) = effort {
        text(out, "effort", effort);
    }
    if let Some(schema) = schema {
        open_field(out, "format", b'{');
        text(out, "type", "json_schema");
        raw(out, "schema", schema);
        out.push(b'}');
    }
    out.push(b'}');
    Ok(())
}

fn write_sampling(
    sampling: &Sampling<'_>,
    unsupported: &mut UnsupportedFields,
    out: &mut Vec<u8>,
) -> Result<(), GatewayError> {
    // The maximum is 1 here and 2 in other APIs.
    let is_above_one = |raw: &&str| raw.parse::<f64>().is_ok_and(|number| number > 1.0);
    match sampling.temperature.filter(is_above_one) {
        Some(_) => unsupported.reject_or_drop("temperature")?,
        None => raw_if(out, "temperature", sampling.temperature),
    }
    raw_if(out, "top_p", sampling.top_p);
    raw_if(out, "top_k", sampling.top_k);
    texts_if(out, "stop_sequences", &sampling.stop);
    let is_set = |raw: Option<&str>| raw.is_some_and(|raw| raw.parse::<f64>() != Ok(0.0));
    for (name, is_lost) in [
        ("frequency_penalty", is_set(sampling.frequency_penalty)),
        ("presence_penalty", is_set(sampling.presence_penalty)),
        ("seed", sampling.seed.is_some()),
        ("n", sampling.n.is_some()),
        ("logprobs", sampling.logprobs),
        ("top_logprobs", sampling.top_logprobs.is_some()),
        ("logit_bias", sampling.logit_bias.is_some()),
    ] {
        if is_lost {
            unsupported.reject_or_drop(name)?;
        }
    }
    Ok(())
}
