//! Writes a Converse request from the neutral form. The path names the model.

use crate::error::gateway_error::GatewayError;
use crate::protocols::bedrock::provider::content::{Writer, write_cache_point};
use crate::protocols::json::write::{key, number, open, open_field, raw, raw_if, text, texts_if};
use crate::protocols::neutral::request::{Format, Part, Request, Role, Sampling, ToolChoice};
use crate::protocols::neutral::tool_arguments::is_object;
use crate::protocols::neutral::unsupported_fields::UnsupportedFields;

/// The schema of a tool without arguments, because this API requires a schema.
const NO_PARAMETERS: &str = "{\"type\":\"object\",\"properties\":{}}";

/// Appends the body of a request for `model`, whose name shows which extra fields it supports.
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
    let messages = &request.messages;
    let is_system = |role| matches!(role, Role::System | Role::Developer);
    let leading = messages
        .iter()
        .take_while(|message| is_system(message.role));
    let (system, rest) = messages
        .split_at_checked(leading.count())
        .unwrap_or((&[], messages));
    let mut writer = Writer::default();
    writer.messages(rest, unsupported, out)?;
    writer.system(system, unsupported, out)?;
    write_inference(&request.sampling, unsupported, out)?;
    write_tools(request, unsupported, out)?;
    let more = more_of(request, model, unsupported)?;
    write_output(request, &more, unsupported, out)?;
    write_more(&more, out);
    refuse(request, unsupported)?;
    if request.user.is_some() {
        unsupported.note_dropped("user");
    }
    out.push(b'}');
    Ok(())
}

fn write_inference(
    sampling: &Sampling<'_>,
    unsupported: &mut UnsupportedFields,
    out: &mut Vec<u8>,
) -> Result<(), GatewayError> {
    let mark = out.len();
    open_field(out, "inferenceConfig", b'{');
    let empty = out.len();
    if let Some(tokens) = sampling.max_tokens {
        number(out, "maxTokens", tokens);
    }
    // The maximum is 1 here and 2 in other APIs.
    let is_above_one = |raw: &&str| raw.parse::<f64>().is_ok_and(|number| number > 1.0);
    match sampling.temperature.filter(is_above_one) {
        Some(_) => unsupported.reject_or_drop("temperature")?,
        None => raw_if(out, "temperature", sampling.temperature),
    }
    raw_if(out, "topP", sampling.top_p);
    texts_if(out, "stopSequences", &sampling.stop);
    if out.len() == empty {
        out.truncate(mark);
    } else {
        out.push(b'}');
    }
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
    request.reject_or_drop_serial_tools(unsupported)?;
    if request.tool_choice == Some(ToolChoice::None) {
        // The API has no value for "none": the tools are left out, unless the conversation contains calls, which
        // require them.
        let is_call =
            |part: &Part<'_>| matches!(part, Part::ToolCall { .. } | Part::ToolResult { .. });
        let mut parts = request.messages.iter().flat_map(|message| &message.parts);
        if parts.any(is_call) {
            unsupported.reject_or_drop("tool_choice")?;
        } else {
            unsupported.note_dropped("tools");
            return Ok(());
        }
    }
    open_field(out, "toolConfig", b'{');
    open_field(out, "tools", b'[');
    for tool in &request.tools {
        open(out, b'{');
        open_field(out, "toolSpec", b'{');
        text(out, "name", tool.name);
        if let Some(description) = tool.description.filter(|words| !words.is_empty()) {
            text(out, "description", description);
        }
        let schema = tool.parameters.filter(|schema| is_object(schema));
        if schema.is_none() && tool.parameters.is_some() {
            unsupported.note_dropped("tools.parameters");
        }
        let schema = schema.filter(|schema| *schema != "{}");
        open_field(out, "inputSchema", b'{');
        raw(out, "json", schema.unwrap_or(NO_PARAMETERS));
        out.push(b'}');
        if tool.strict == Some(true) {
            raw(out, "strict", "true");
        }
        out.extend_from_slice(b"}}");
        write_cache_point(tool.cache, out);
    }
    out.push(b']');
    match request.tool_choice {
        Some(ToolChoice::Auto) => raw(out, "toolChoice", "{\"auto\":{}}"),
        Some(ToolChoice::Any) => raw(out, "toolChoice", "{\"any\":{}}"),
        Some(ToolChoice::Tool(name)) => {
            open_field(out, "toolChoice", b'{');
            open_field(out, "tool", b'{');
            text(out, "name", name);
            out.extend_from_slice(b"}}");
        }
        Some(ToolChoice::None) | None => {}
    }
    out.push(b'}');
    Ok(())
}

/// Fields beside the common ones.
#[derive(Default)]
struct More<'r> {
    /// The reasoning effort.
    effort: Option<&'r str>,
    /// A field of Claude, raw JSON.
    thinking: Option<String>,
    /// A field of Claude and Mistral, raw JSON.
    top_k: Option<&'r str>,
    /// A field of Nova, raw JSON.
    nova_top_k: Option<&'r str>,
}

/// The extra fields of a model ("Inference request parameters and response fields for foundation models", Bedrock's
/// user guide). The model's name contains the vendor.
fn more_of<'r>(
    request: &Request<'r>,
    model: &str,
    unsupported: &mut UnsupportedFields,
) -> Result<More<'r>, GatewayError> {
    let mut more = More::default();
    let is_of = |vendor: &str| model.contains(vendor);
    let is_claude = is_of("anthropic.");
    match request.sampling.top_k {
        Some(raw) if is_claude || is_of("mistral.") => more.top_k = Some(raw),
        Some(raw) if is_of("amazon.nova") => more.nova_top_k = Some(raw),
        Some(_) => unsupported.reject_or_drop("top_k")?,
        None => {}
    }
    let effort = match request.reasoning.effort {
        Some("minimal") => Some("low"),
        effort => effort,
    };
    match (effort, request.reasoning.budget_tokens) {
        (Some("none"), _) | (None, Some(0)) => {
            if is_claude {
                more.thinking = Some("{\"type\":\"disabled\"}".to_owned());
            } else {
                // Some models do not think unless requested, so nothing is sent; others always think and have no
                // option to stop.
                unsupported.note_dropped("reasoning_effort");
            }
        }
        (effort, Some(budget)) if is_claude => {
            let enabled = format!("{{\"type\":\"enabled\",\"budget_tokens\":{budget}}}");
            more.thinking = Some(enabled);
            more.effort = effort;
        }
        (effort, Some(_)) => {
            unsupported.reject_or_drop("thinking")?;
            more.effort = effort;
        }
        (Some(effort), None) => {
            if is_claude {
                more.thinking = Some("{\"type\":\"adaptive\"}".to_owned());
            }
            more.effort = Some(effort);
        }
        (None, None) => {}
    }
    Ok(more)
}

/// Appends the response format and the reasoning effort.
fn write_output(
    request: &Request<'_>,
    more: &More<'_>,
    unsupported: &mut UnsupportedFields,
    out: &mut Vec<u8>,
) -> Result<(), GatewayError> {
    if request.format == Format::JsonObject {
        unsupported.reject_or_drop("response_format")?;
    }
    let mark = out.len();
    open_field(out, "outputConfig", b'{');
    let empty = out.len();
    if let Format::JsonSchema {
        name,
        description,
        schema,
        ..
    } = request.format
    {
        open_field(out, "textFormat", b'{');
        text(out, "type", "json_schema");
        open_field(out, "structure", b'{');
        open_field(out, "jsonSchema", b'{');
        // This API expects the schema as a string.
        text(out, "schema", schema);
        if let Some(name) = name {
            text(out, "name", name);
        }
        if let Some(description) = description {
            text(out, "description", description);
        }
        out.extend_from_slice(b"}}}");
    }
    if let Some(effort) = more.effort {
        text(out, "effort", effort);
    }
    if out.len() == empty {
        out.truncate(mark);
    } else {
        out.push(b'}');
    }
    Ok(())
}

fn write_more(more: &More<'_>, out: &mut Vec<u8>) {
    if more.thinking.is_none() && more.top_k.is_none() && more.nova_top_k.is_none() {
        return;
    }
    open_field(out, "additionalModelRequestFields", b'{');
    raw_if(out, "thinking", more.thinking.as_deref());
    raw_if(out, "top_k", more.top_k);
    if let Some(top_k) = more.nova_top_k {
        open_field(out, "inferenceConfig", b'{');
        key(out, "topK");
        out.extend_from_slice(top_k.as_bytes());
        out.push(b'}');
    }
    out.push(b'}');
}

/// Rejects or drops the fields that this API lacks.
fn refuse(request: &Request<'_>, unsupported: &mut UnsupportedFields) -> Result<(), GatewayError> {
    let sampling = &request.sampling;
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
