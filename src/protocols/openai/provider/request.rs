//! Writes a chat completion request from the neutral form.

use crate::error::gateway_error::GatewayError;
use crate::protocols::json::write::{number, open, open_field, raw, raw_if, text, texts_if};
use crate::protocols::neutral::request::{
    Format, Message, Part, Reasoning, Request, Role, Sampling, Source, ToolChoice,
};
use crate::protocols::neutral::unsupported_fields::UnsupportedFields;
use crate::protocols::tool_calls_field::write_calls;

/// The name of a schema without a name, because OpenAI's API requires one.
const SCHEMA_NAME: &str = "response";

/// Appends the body of a request.
///
/// # Errors
/// 400 that names a field that this API does not support.
pub(crate) fn write(
    request: &Request<'_>,
    model: &str,
    unsupported: &mut UnsupportedFields,
    out: &mut Vec<u8>,
) -> Result<(), GatewayError> {
    out.push(b'{');
    text(out, "model", model);
    open_field(out, "messages", b'[');
    for message in &request.messages {
        write_message(message, unsupported, out)?;
    }
    out.push(b']');
    write_tools(request, unsupported, out);
    write_format(&request.format, out);
    write_sampling(&request.sampling, unsupported, out)?;
    write_reasoning(request.reasoning, out);
    if let Some(user) = request.user {
        text(out, "user", user);
    }
    if request.stream {
        raw(out, "stream", "true");
        raw(out, "stream_options", "{\"include_usage\":true}");
    }
    out.push(b'}');
    Ok(())
}

fn write_message(
    message: &Message<'_>,
    unsupported: &mut UnsupportedFields,
    out: &mut Vec<u8>,
) -> Result<(), GatewayError> {
    let role = match message.role {
        Role::System => "system",
        Role::Developer => "developer",
        Role::User => "user",
        Role::Assistant => return write_assistant(message, unsupported, out),
    };
    let mut others = 0;
    for part in &message.parts {
        match part {
            Part::ToolResult {
                id,
                is_error,
                parts,
                cache,
            } => {
                if *is_error {
                    unsupported.note_dropped("is_error");
                }
                unsupported.note_cache_marker(*cache);
                open(out, b'{');
                text(out, "role", "tool");
                text(out, "tool_call_id", id);
                write_content(parts.iter(), message.at, unsupported, out)?;
                out.push(b'}');
            }
            _ => others += 1,
        }
    }
    // A message without parts stays a message: an empty text.
    if others > 0 || message.parts.is_empty() {
        open(out, b'{');
        text(out, "role", role);
        let is_said = |part: &&Part<'_>| !matches!(part, Part::ToolResult { .. });
        write_content(
            message.parts.iter().filter(is_said),
            message.at,
            unsupported,
            out,
        )?;
        out.push(b'}');
    }
    Ok(())
}

/// Appends content: a single text as a string, everything else as parts.
fn write_content<'p, 'a: 'p>(
    parts: impl Iterator<Item = &'p Part<'a>> + Clone,
    at: usize,
    unsupported: &mut UnsupportedFields,
    out: &mut Vec<u8>,
) -> Result<(), GatewayError> {
    let mut first_two = parts.clone();
    match (first_two.next(), first_two.next()) {
        (None, _) => text(out, "content", ""),
        (
            Some(Part::Text {
                text: words, cache, ..
            }),
            None,
        ) => {
            unsupported.note_cache_marker(*cache);
            text(out, "content", words);
        }
        _ => {
            open_field(out, "content", b'[');
            for part in parts {
                write_part(part, at, unsupported, out)?;
            }
            out.push(b']');
        }
    }
    Ok(())
}

fn write_part(
    part: &Part<'_>,
    at: usize,
    unsupported: &mut UnsupportedFields,
    out: &mut Vec<u8>,
) -> Result<(), GatewayError> {
    match part {
        Part::Text {
            text: words, cache, ..
        } => {
            unsupported.note_cache_marker(*cache);
            write_text_part(words, out);
        }
        Part::Image {
            source: source @ (Source::Url(_) | Source::Base64 { .. }),
            detail,
            cache,
        } => {
            unsupported.note_cache_marker(*cache);
            open(out, b'{');
            text(out, "type", "image_url");
            open_field(out, "image_url", b'{');
            source.write_url("url", out);
            if let Some(detail) = detail {
                text(out, "detail", detail);
            }
            out.extend_from_slice(b"}}");
        }
        Part::Document {
            source: source @ Source::Base64 { .. },
            title,
            cache,
        } => {
            unsupported.note_cache_marker(*cache);
            open(out, b'{');
            text(out, "type", "file");
            open_field(out, "file", b'{');
            text(out, "filename", title.unwrap_or("document.pdf"));
            source.write_url("file_data", out);
            out.extend_from_slice(b"}}");
        }
        Part::Document {
            source: Source::Text(words),
            title,
            cache,
        } => {
            unsupported.note_cache_marker(*cache);
            if title.is_some() {
                unsupported.note_dropped("title");
            }
            write_text_part(words, out);
        }
        Part::Audio { data, format } => {
            write_audio_part(data, format, out);
        }
        Part::Image { .. } => {
            unsupported.reject_or_drop(&format!("messages[{at}].content.image.source"))?;
        }
        Part::Document { .. } => {
            unsupported.reject_or_drop(&format!("messages[{at}].content.document.source"))?;
        }
        Part::Thinking { .. } | Part::Redacted { .. } => unsupported.note_dropped("thinking"),
        Part::ToolCall { .. } | Part::ToolResult { .. } => {
            unsupported.reject_or_drop(&format!("messages[{at}].content"))?;
        }
    }
    Ok(())
}

fn write_audio_part(data: &str, format: &str, out: &mut Vec<u8>) {
    open(out, b'{');
    text(out, "type", "input_audio");
    open_field(out, "input_audio", b'{');
    text(out, "data", data);
    text(out, "format", format);
    out.extend_from_slice(b"}}");
}

fn write_text_part(words: &str, out: &mut Vec<u8>) {
    open(out, b'{');
    text(out, "type", "text");
    text(out, "text", words);
    out.push(b'}');
}

/// Appends a turn of the model: text, then tool calls. Thoughts are left out, because they are signed for another
/// provider.
fn write_assistant(
    message: &Message<'_>,
    unsupported: &mut UnsupportedFields,
    out: &mut Vec<u8>,
) -> Result<(), GatewayError> {
    let is_call = |part: &&Part<'_>| matches!(part, Part::ToolCall { .. });
    let is_thought =
        |part: &Part<'_>| matches!(part, Part::Thinking { .. } | Part::Redacted { .. });
    if message.parts.iter().any(is_thought) {
        unsupported.note_dropped("thinking");
    }
    let is_said = |part: &&Part<'_>| !is_call(part) && !is_thought(part);
    let has_calls = message.parts.iter().any(|part| is_call(&part));
    open(out, b'{');
    text(out, "role", "assistant");
    if has_calls && !message.parts.iter().any(|part| is_said(&part)) {
        raw(out, "content", "null");
    } else {
        write_content(
            message.parts.iter().filter(is_said),
            message.at,
            unsupported,
            out,
        )?;
    }
    if has_calls {
        write_calls(&message.parts, unsupported, out);
    }
    out.push(b'}');
    Ok(())
}

fn write_tools(request: &Request<'_>, unsupported: &mut UnsupportedFields, out: &mut Vec<u8>) {
    if request.tools.is_empty() {
        return;
    }
    open_field(out, "tools", b'[');
    for tool in &request.tools {
        unsupported.note_cache_marker(tool.cache);
        open(out, b'{');
        text(out, "type", "function");
        open_field(out, "function", b'{');
        text(out, "name", tool.name);
        if let Some(description) = tool.description {
            text(out, "description", description);
        }
        raw_if(out, "parameters", tool.parameters);
        if let Some(strict) = tool.strict {
            raw(out, "strict", if strict { "true" } else { "false" });
        }
        out.extend_from_slice(b"}}");
    }
    out.push(b']');
    match request.tool_choice {
        Some(ToolChoice::Auto) => text(out, "tool_choice", "auto"),
        Some(ToolChoice::Any) => text(out, "tool_choice", "required"),
        Some(ToolChoice::None) => text(out, "tool_choice", "none"),
        Some(ToolChoice::Tool(name)) => {
            open_field(out, "tool_choice", b'{');
            text(out, "type", "function");
            open_field(out, "function", b'{');
            text(out, "name", name);
            out.extend_from_slice(b"}}");
        }
        None => {}
    }
    if let Some(parallel) = request.parallel_tools {
        raw(
            out,
            "parallel_tool_calls",
            if parallel { "true" } else { "false" },
        );
    }
}

fn write_format(format: &Format<'_>, out: &mut Vec<u8>) {
    match format {
        Format::Text => {}
        Format::JsonObject => raw(out, "response_format", "{\"type\":\"json_object\"}"),
        Format::JsonSchema {
            name,
            description,
            schema,
            strict,
        } => {
            open_field(out, "response_format", b'{');
            text(out, "type", "json_schema");
            open_field(out, "json_schema", b'{');
            text(out, "name", name.unwrap_or(SCHEMA_NAME));
            if let Some(description) = description {
                text(out, "description", description);
            }
            raw(out, "schema", schema);
            if let Some(strict) = strict {
                raw(out, "strict", if *strict { "true" } else { "false" });
            }
            out.extend_from_slice(b"}}");
        }
    }
}

fn write_sampling(
    sampling: &Sampling<'_>,
    unsupported: &mut UnsupportedFields,
    out: &mut Vec<u8>,
) -> Result<(), GatewayError> {
    if let Some(tokens) = sampling.max_tokens {
        number(out, "max_completion_tokens", tokens);
    }
    raw_if(out, "temperature", sampling.temperature);
    raw_if(out, "top_p", sampling.top_p);
    if sampling.top_k.is_some() {
        unsupported.reject_or_drop("top_k")?;
    }
    raw_if(out, "frequency_penalty", sampling.frequency_penalty);
    raw_if(out, "presence_penalty", sampling.presence_penalty);
    raw_if(out, "seed", sampling.seed);
    texts_if(out, "stop", &sampling.stop);
    if let Some(n) = sampling.n {
        number(out, "n", n);
    }
    if sampling.logprobs {
        raw(out, "logprobs", "true");
    }
    raw_if(out, "top_logprobs", sampling.top_logprobs);
    raw_if(out, "logit_bias", sampling.logit_bias);
    Ok(())
}

/// A budget becomes the nearest effort level. "No thinking" is not written, because models that do not think reject
/// the field.
fn write_reasoning(reasoning: Reasoning<'_>, out: &mut Vec<u8>) {
    if let Some(effort) = reasoning.effort_or_nearest() {
        text(out, "reasoning_effort", effort);
    }
}
