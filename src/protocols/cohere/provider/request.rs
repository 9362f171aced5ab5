//! Writes a chat request of Cohere's API v2 from the neutral form.

use crate::error::gateway_error::GatewayError;
use crate::protocols::json::write::{number, open, open_field, raw, raw_if, text, texts_if};
use crate::protocols::neutral::request::{
    Format, Message, Part, Reasoning, Request, Role, Sampling, Source, ToolChoice,
};
use crate::protocols::neutral::unsupported_fields::UnsupportedFields;
use crate::protocols::tool_calls_field::write_calls;

/// The schema of a tool without arguments, because this API requires a schema.
const NO_PARAMETERS: &str = "{\"type\":\"object\",\"properties\":{}}";

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
    raw(out, "stream", if request.stream { "true" } else { "false" });
    open_field(out, "messages", b'[');
    for message in &request.messages {
        write_message(message, unsupported, out)?;
    }
    out.push(b']');
    write_tools(request, unsupported, out)?;
    match request.format {
        Format::Text => {}
        Format::JsonObject => raw(out, "response_format", "{\"type\":\"json_object\"}"),
        Format::JsonSchema {
            schema,
            description,
            ..
        } => {
            if description.is_some() {
                unsupported.note_dropped("response_format.json_schema.description");
            }
            open_field(out, "response_format", b'{');
            text(out, "type", "json_object");
            raw(out, "schema", schema);
            out.push(b'}');
        }
    }
    write_sampling(&request.sampling, unsupported, out)?;
    write_thinking(request.reasoning, unsupported, out)?;
    if request.user.is_some() {
        unsupported.note_dropped("user");
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
        Role::System | Role::Developer => "system",
        Role::User => "user",
        Role::Assistant => return write_assistant(message, unsupported, out),
    };
    let mut others = 0;
    for part in &message.parts {
        let Part::ToolResult {
            id,
            is_error,
            parts,
            cache,
        } = part
        else {
            others += 1;
            continue;
        };
        if *is_error {
            unsupported.note_dropped("is_error");
        }
        unsupported.note_cache_marker(*cache);
        open(out, b'{');
        text(out, "role", "tool");
        text(out, "tool_call_id", id);
        open_field(out, "content", b'[');
        for part in parts {
            match part {
                Part::Text { .. } => write_part(part, message.at, unsupported, out)?,
                _ => unsupported.reject_or_drop(&format!("messages[{}].content", message.at))?,
            }
        }
        out.extend_from_slice(b"]}");
    }
    if others > 0 {
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

/// Appends content: a single text as a string, everything else as blocks.
fn write_content<'p, 'a: 'p>(
    parts: impl Iterator<Item = &'p Part<'a>> + Clone,
    at: usize,
    unsupported: &mut UnsupportedFields,
    out: &mut Vec<u8>,
) -> Result<(), GatewayError> {
    let mut first_two = parts.clone();
    if let (
        Some(Part::Text {
            text: words, cache, ..
        }),
        None,
    ) = (first_two.next(), first_two.next())
    {
        unsupported.note_cache_marker(*cache);
        text(out, "content", words);
        return Ok(());
    }
    open_field(out, "content", b'[');
    for part in parts {
        write_part(part, at, unsupported, out)?;
    }
    out.push(b']');
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
            write_words(words, out);
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
            source: Source::Text(words),
            title,
            cache,
        } => {
            unsupported.note_cache_marker(*cache);
            if title.is_some() {
                unsupported.note_dropped("title");
            }
            write_words(words, out);
        }
        Part::Thinking { .. } | Part::Redacted { .. } => unsupported.note_dropped("thinking"),
        Part::Image { .. } => {
            unsupported.reject_or_drop(&format!("messages[{at}].content.image_url"))?;
        }
        Part::Document { .. } => {
            unsupported.reject_or_drop(&format!("messages[{at}].content.file"))?;
        }
        Part::Audio { .. } => {
            unsupported.reject_or_drop(&format!("messages[{at}].content.input_audio"))?;
        }
        Part::ToolCall { .. } | Part::ToolResult { .. } => {
            unsupported.reject_or_drop(&format!("messages[{at}].content"))?;
        }
    }
    Ok(())
}

fn write_words(words: &str, out: &mut Vec<u8>) {
    open(out, b'{');
    text(out, "type", "text");
    text(out, "text", words);
    out.push(b'}');
}

/// Appends a turn of the model: text, then tool calls. Its thoughts are not sent back.
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
    let (has_text, calls) = (
        message.parts.iter().any(|part| is_said(&part)),
        message.parts.iter().any(|part| is_call(&part)),
    );
    if !has_text && !calls {
        return Ok(());
    }
    open(out, b'{');
    text(out, "role", "assistant");
    if has_text {
        write_content(
            message.parts.iter().filter(is_said),
            message.at,
            unsupported,
            out,
        )?;
    }
    if calls {
        write_calls(&message.parts, unsupported, out);
    }
    out.push(b'}');
    Ok(())
}

fn write_tools(
    request: &Request<'_>,
    unsupported: &mut UnsupportedFields,
    out: &mut Vec<u8>,
) -> Result<(), GatewayError> {
    if request.tools.is_empty() {
        return Ok(());
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
        let schema = tool.parameters.filter(|schema| *schema != "{}");
        raw(out, "parameters", schema.unwrap_or(NO_PARAMETERS));
        out.extend_from_slice(b"}}");
    }
    out.push(b']');
    // `strict_tools` applies to all tools or to none.
    let strict = request
        .tools
        .iter()
        .filter(|tool| tool.strict == Some(true));
    match strict.count() {
        0 => {}
        count if count == request.tools.len() => raw(out, "strict_tools", "true"),
        _ => unsupported.note_dropped("strict"),
    }
    match request.tool_choice {
        Some(ToolChoice::Any) => text(out, "tool_choice", "REQUIRED"),
        Some(ToolChoice::None) => text(out, "tool_choice", "NONE"),
        // If there is only one tool, requiring any tool requires this one.
        Some(ToolChoice::Tool(name)) => match request.tools.as_slice() {
            [tool] if tool.name == name => text(out, "tool_choice", "REQUIRED"),
            _ => unsupported.reject_or_drop("tool_choice")?,
        },
        Some(ToolChoice::Auto) | None => {}
    }
    request.reject_or_drop_serial_tools(unsupported)?;
    Ok(())
}

fn write_sampling(
    sampling: &Sampling<'_>,
    unsupported: &mut UnsupportedFields,
    out: &mut Vec<u8>,
) -> Result<(), GatewayError> {
    if let Some(tokens) = sampling.max_tokens {
        number(out, "max_tokens", tokens);
    }
    raw_if(out, "temperature", sampling.temperature);
    raw_if(out, "p", sampling.top_p);
    raw_if(out, "k", sampling.top_k);
    raw_if(out, "seed", sampling.seed);
    raw_if(out, "frequency_penalty", sampling.frequency_penalty);
    raw_if(out, "presence_penalty", sampling.presence_penalty);
    texts_if(out, "stop_sequences", &sampling.stop);
    for (name, is_lost) in [
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

/// Thinking is on or off, with an optional budget; the API has no effort levels.
fn write_thinking(
    reasoning: Reasoning<'_>,
    unsupported: &mut UnsupportedFields,
    out: &mut Vec<u8>,
) -> Result<(), GatewayError> {
    match (reasoning.effort, reasoning.budget_tokens) {
        (None, None) => {}
        (Some("none"), _) | (None, Some(0)) => raw(out, "thinking", "{\"type\":\"disabled\"}"),
        (_, Some(budget)) => {
            open_field(out, "thinking", b'{');
            text(out, "type", "enabled");
            number(out, "token_budget", budget);
            out.push(b'}');
        }
        (Some("high" | "xhigh" | "max"), None) => {
            raw(out, "thinking", "{\"type\":\"enabled\"}");
        }
        (Some(_), None) => unsupported.reject_or_drop("reasoning_effort")?,
    }
    Ok(())
}
