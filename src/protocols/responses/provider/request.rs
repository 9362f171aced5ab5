//! Writes a Responses request from the neutral form. The provider must not store the response.

use crate::error::gateway_error::GatewayError;
use crate::protocols::json::write::{number, open, open_field, raw, raw_if, text};
use crate::protocols::neutral::request::{
    Format, Message, Part, Reasoning, Request, Role, Sampling, Source, ToolChoice,
};
use crate::protocols::neutral::unsupported_fields::UnsupportedFields;

/// The name of a schema without a name, because this API requires one.
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
    open_field(out, "input", b'[');
    for message in &request.messages {
        write_message(message, unsupported, out)?;
    }
    out.push(b']');
    write_tools(request, unsupported, out);
    write_format(&request.format, out);
    write_sampling(&request.sampling, unsupported, out)?;
    write_reasoning(request.reasoning, out);
    raw(out, "store", "false");
    raw(out, "include", "[\"reasoning.encrypted_content\"]");
    if let Some(user) = request.user {
        text(out, "user", user);
    }
    if request.stream {
        raw(out, "stream", "true");
    }
    out.push(b'}');
    Ok(())
}

/// Appends a message as items: text, tool calls, results and thoughts are separate items, in their order.
fn write_message(
    message: &Message<'_>,
    unsupported: &mut UnsupportedFields,
    out: &mut Vec<u8>,
) -> Result<(), GatewayError> {
    let mut in_message = false;
    for part in &message.parts {
        let is_item = matches!(
            part,
            Part::ToolCall { .. }
                | Part::ToolResult { .. }
                | Part::Thinking { .. }
                | Part::Redacted { .. }
        );
        if is_item {
            if std::mem::take(&mut in_message) {
                out.extend_from_slice(b"]}");
            }
            write_item(part, message.at, unsupported, out)?;
            continue;
        }
        if !std::mem::replace(&mut in_message, true) {
            open(out, b'{');
            text(out, "role", role(message.role));
            open_field(out, "content", b'[');
        }
        write_part(part, message, unsupported, out)?;
    }
    if in_message {
        out.extend_from_slice(b"]}");
    }
    Ok(())
}

fn role(role: Role) -> &'static str {
    match role {
        Role::System => "system",
        Role::Developer => "developer",
        Role::User => "user",
        Role::Assistant => "assistant",
    }
}

fn write_item(
    part: &Part<'_>,
    at: usize,
    unsupported: &mut UnsupportedFields,
    out: &mut Vec<u8>,
) -> Result<(), GatewayError> {
    match part {
        Part::ToolCall {
            id,
            name,
            arguments,
            cache,
        } => {
            unsupported.note_cache_marker(*cache);
            open(out, b'{');
            text(out, "type", "function_call");
            text(out, "call_id", id);
            text(out, "name", name);
            text(out, "arguments", arguments);
        }
        Part::ToolResult {
            id,
            is_error,
            parts,
            cache,
        } => {
            unsupported.note_cache_marker(*cache);
            if *is_error {
                unsupported.note_dropped("is_error");
            }
            open(out, b'{');
            text(out, "type", "function_call_output");
            text(out, "call_id", id);
            if let [Part::Text { text: words, .. }] = parts.as_slice() {
                text(out, "output", words);
            } else if parts.is_empty() {
                text(out, "output", "");
            } else {
                let given = Message {
                    role: Role::User,
                    parts: Vec::new(),
                    at,
                };
                open_field(out, "output", b'[');
                for part in parts {
                    write_part(part, &given, unsupported, out)?;
                }
                out.push(b']');
            }
        }
        // The signature of a thought is valid only for the provider that created it.
        _ => {
            unsupported.note_dropped("thinking");
            return Ok(());
        }
    }
    out.push(b'}');
    Ok(())
}

fn write_part(
    part: &Part<'_>,
    message: &Message<'_>,
    unsupported: &mut UnsupportedFields,
    out: &mut Vec<u8>,
) -> Result<(), GatewayError> {
    let at = message.at;
    match part {
        Part::Text {
            text: words, cache, ..
        } => {
            unsupported.note_cache_marker(*cache);
            let kind = match message.role {
                Role::Assistant => "output_text",
                _ => "input_text",
            };
            write_words(kind, words, out);
        }
        Part::Image {
            source,
            detail,
            cache,
        } => {
            unsupported.note_cache_marker(*cache);
            if !matches!(source, Source::Url(_) | Source::Base64 { .. }) {
                return unsupported.reject_or_drop(&format!("messages[{at}].content.image.source"));
            }
            open(out, b'{');
            text(out, "type", "input_image");
            source.write_url("image_url", out);
            text(out, "detail", detail.unwrap_or("auto"));
            out.push(b'}');
        }
        Part::Document {
            source,
            title,
            cache,
        } => {
            unsupported.note_cache_marker(*cache);
            let name = match source {
                Source::Text(words) => {
                    if title.is_some() {
                        unsupported.note_dropped("title");
                    }
                    write_words("input_text", words, out);
                    return Ok(());
                }
                Source::Base64 { .. } => "file_data",
                Source::Url(_) => "file_url",
                // A file belongs to the provider that it was uploaded to.
                Source::File(_) => {
                    return unsupported
                        .reject_or_drop(&format!("messages[{at}].content.document.source"));
                }
            };
            open(out, b'{');
            text(out, "type", "input_file");
            if name == "file_data" {
                text(out, "filename", title.unwrap_or("document.pdf"));
            }
            source.write_url(name, out);
            out.push(b'}');
        }
        _ => unsupported.reject_or_drop(&format!("messages[{at}].content"))?,
    }
    Ok(())
}

fn write_words(kind: &str, words: &str, out: &mut Vec<u8>) {
    open(out, b'{');
    text(out, "type", kind);
    text(out, "text", words);
    out.push(b'}');
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
        text(out, "name", tool.name);
        if let Some(description) = tool.description {
            text(out, "description", description);
        }
        raw(out, "parameters", tool.parameters.unwrap_or("{}"));
        // The default is true here and false in other APIs.
        let strict = tool.strict == Some(true);
        raw(out, "strict", if strict { "true" } else { "false" });
        out.push(b'}');
    }
    out.push(b']');
    match request.tool_choice {
        Some(ToolChoice::Auto) => text(out, "tool_choice", "auto"),
        Some(ToolChoice::Any) => text(out, "tool_choice", "required"),
        Some(ToolChoice::None) => text(out, "tool_choice", "none"),
        Some(ToolChoice::Tool(name)) => {
            open_field(out, "tool_choice", b'{');
            text(out, "type", "function");
            text(out, "name", name);
            out.push(b'}');
        }
        None => {}
    }
    if let Some(parallel) = request.parallel_tools {
        let parallel = if parallel { "true" } else { "false" };
        raw(out, "parallel_tool_calls", parallel);
    }
}

fn write_format(format: &Format<'_>, out: &mut Vec<u8>) {
    match format {
        Format::Text => {}
        Format::JsonObject => raw(out, "text", "{\"format\":{\"type\":\"json_object\"}}"),
        Format::JsonSchema {
            name,
            description,
            schema,
            strict,
        } => {
            open_field(out, "text", b'{');
            open_field(out, "format", b'{');
            text(out, "type", "json_schema");
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
        number(out, "max_output_tokens", tokens);
    }
    raw_if(out, "temperature", sampling.temperature);
    raw_if(out, "top_p", sampling.top_p);
    let is_set = |raw: Option<&str>| raw.is_some_and(|raw| raw.parse::<f64>() != Ok(0.0));
    for (name, is_lost) in [
        ("stop", !sampling.stop.is_empty()),
        ("top_k", sampling.top_k.is_some()),
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

/// A budget becomes the nearest effort level. Summaries of thoughts are not requested: the API grants them only to
/// verified organisations.
fn write_reasoning(reasoning: Reasoning<'_>, out: &mut Vec<u8>) {
    if let Some(effort) = reasoning.effort_or_nearest() {
        open_field(out, "reasoning", b'{');
        text(out, "effort", effort);
        out.push(b'}');
    }
}
