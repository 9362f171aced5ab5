//! Writes a `GenerateContentRequest` from the neutral form; `contents.rs` writes the conversation.

use crate::error::gateway_error::GatewayError;
use crate::protocols::gemini::provider::contents;
use crate::protocols::json::document::write_string;
use crate::protocols::json::write::{open, open_field, raw, raw_if, text, texts_if};
use crate::protocols::neutral::request::{Format, Reasoning, Request, Sampling, Tool, ToolChoice};
use crate::protocols::neutral::unsupported_fields::UnsupportedFields;

/// Appends the body of a request. The path names the model and whether to stream.
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
    contents::write(&request.messages, demands_seals(model), unsupported, out)?;
    write_tools(request, unsupported, out)?;
    write_generation(request, model, unsupported, out)?;
    if request.user.is_some() {
        unsupported.note_dropped("user");
    }
    out.push(b'}');
    Ok(())
}

/// The major version of Gemini in a model's name.
fn version(model: &str) -> Option<u32> {
    let (_, after) = model.split_once("gemini-")?;
    let digits = after.find(|letter: char| !letter.is_ascii_digit());
    after.get(..digits.unwrap_or(after.len()))?.parse().ok()
}

/// From version 3 on, a call without its signature is rejected (Google's page on thought signatures).
fn demands_seals(model: &str) -> bool {
    version(model).is_some_and(|version| version >= 3)
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
    open(out, b'{');
    open_field(out, "functionDeclarations", b'[');
    for tool in &request.tools {
        write_tool(tool, unsupported, out);
    }
    out.extend_from_slice(b"]}]");
    request.reject_or_drop_serial_tools(unsupported)?;
    let strict = request.tools.iter().any(|tool| tool.strict == Some(true));
    let (mode, only) = match request.tool_choice {
        // A call must follow the schema, but the model is free to call or not.
        None | Some(ToolChoice::Auto) if strict => ("VALIDATED", None),
        None => return Ok(()),
        Some(ToolChoice::Auto) => ("AUTO", None),
        Some(ToolChoice::Any) => ("ANY", None),
        Some(ToolChoice::None) => ("NONE", None),
        Some(ToolChoice::Tool(name)) => ("ANY", Some(name)),
    };
    open_field(out, "toolConfig", b'{');
    open_field(out, "functionCallingConfig", b'{');
    text(out, "mode", mode);
    if let Some(name) = only {
        open_field(out, "allowedFunctionNames", b'[');
        write_string(out, name);
        out.push(b']');
    }
    out.extend_from_slice(b"}}");
    Ok(())
}

/// The schema is sent as a JSON schema: `parameters` accepts only a subset of OpenAPI's.
fn write_tool(tool: &Tool<'_>, unsupported: &mut UnsupportedFields, out: &mut Vec<u8>) {
    open(out, b'{');
    text(out, "name", tool.name);
    if let Some(description) = tool.description {
        text(out, "description", description);
    }
    raw_if(
        out,
        "parametersJsonSchema",
        tool.parameters.filter(|schema| schema.trim() != "{}"),
    );
    unsupported.note_cache_marker(tool.cache);
    out.push(b'}');
}

fn write_generation(
    request: &Request<'_>,
    model: &str,
    unsupported: &mut UnsupportedFields,
    out: &mut Vec<u8>,
) -> Result<(), GatewayError> {
    let before = out.len();
    open_field(out, "generationConfig", b'{');
    let empty = out.len();
    write_sampling(&request.sampling, unsupported, out)?;
    match request.format {
        Format::Text => {}
        Format::JsonObject => text(out, "responseMimeType", "application/json"),
        Format::JsonSchema {
            schema,
            description,
            ..
        } => {
            if description.is_some() {
                unsupported.note_dropped("response_format.json_schema.description");
            }
            text(out, "responseMimeType", "application/json");
            raw(out, "responseJsonSchema", schema);
        }
    }
    write_thinking(request.reasoning, model, out);
    if out.len() == empty {
        out.truncate(before);
    } else {
        out.push(b'}');
    }
    Ok(())
}

fn write_sampling(
    sampling: &Sampling<'_>,
    unsupported: &mut UnsupportedFields,
    out: &mut Vec<u8>,
) -> Result<(), GatewayError> {
    if let Some(tokens) = sampling.max_tokens {
        crate::protocols::json::write::number(out, "maxOutputTokens", tokens);
    }
    for (name, value) in [
        ("temperature", sampling.temperature),
        ("topP", sampling.top_p),
        ("topK", sampling.top_k),
        ("frequencyPenalty", sampling.frequency_penalty),
        ("presencePenalty", sampling.presence_penalty),
        ("seed", sampling.seed),
    ] {
        raw_if(out, name, value);
    }
    if let Some(n) = sampling.n {
        crate::protocols::json::write::number(out, "candidateCount", n);
    }
    texts_if(out, "stopSequences", &sampling.stop);
    for (name, is_lost) in [
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

/// Thinking tokens for an effort level, for models that know only budgets (Google's page on compatibility with
/// OpenAI's API).
const BUDGETS: [(&str, u64); 4] = [
    ("none", 0),
    ("minimal", 1024),
    ("low", 1024),
    ("medium", 8192),
];
const BUDGET_HIGH: u64 = 24_576;

/// Appends the thinking budget or level, and the option that requests thoughts.
fn write_thinking(reasoning: Reasoning<'_>, model: &str, out: &mut Vec<u8>) {
    let Reasoning {
        effort,
        budget_tokens,
    } = reasoning;
    let knows_levels = version(model).is_none_or(|version| version >= 3);
    let budget = match (budget_tokens, effort) {
        (Some(budget), _) => Some(budget),
        (None, None) => return,
        // A model that always thinks gets its lowest level.
        (None, Some(_)) if knows_levels => None,
        (None, Some(effort)) => {
            let known = BUDGETS.iter().find(|(name, _)| *name == effort);
            Some(known.map_or(BUDGET_HIGH, |(_, budget)| *budget))
        }
    };
    open_field(out, "thinkingConfig", b'{');
    match (budget, effort) {
        (Some(budget), _) => crate::protocols::json::write::number(out, "thinkingBudget", budget),
        (None, Some("none" | "minimal")) => text(out, "thinkingLevel", "minimal"),
        (None, Some(level @ ("low" | "medium"))) => text(out, "thinkingLevel", level),
        (None, _) => text(out, "thinkingLevel", "high"),
    }
    if budget != Some(0) && effort != Some("none") {
        raw(out, "includeThoughts", "true");
    }
    out.push(b'}');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_found_in_names() {
        for (model, found) in [
            ("gemini-2.5-flash", Some(2)),
            ("gemini-3-pro-preview", Some(3)),
            ("publishers/google/models/gemini-3.1-pro", Some(3)),
            ("gemini-pro-latest", None),
            ("tunedModels/x", None),
            ("gemini-99999999999", None),
        ] {
            assert_eq!(version(model), found, "{model}");
        }
    }

    #[test]
    fn effort_is_a_level_or_a_budget() {
        let written = |effort, budget_tokens, model| {
            let mut out = b"{".to_vec();
            let reasoning = Reasoning {
                effort,
                budget_tokens,
            };
            write_thinking(reasoning, model, &mut out);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(
            written(Some("low"), None, "gemini-2.5-pro"),
            r#"{"thinkingConfig":{"thinkingBudget":1024,"includeThoughts":true}"#
        );
        assert_eq!(
            written(Some("max"), None, "gemini-3-pro"),
            r#"{"thinkingConfig":{"thinkingLevel":"high","includeThoughts":true}"#
        );
        assert_eq!(
            written(Some("none"), None, "gemini-2.5-flash"),
            r#"{"thinkingConfig":{"thinkingBudget":0}"#
        );
        assert_eq!(
            written(None, Some(99), "gemini-3-pro"),
            r#"{"thinkingConfig":{"thinkingBudget":99,"includeThoughts":true}"#
        );
        assert_eq!(written(None, None, "gemini-3-pro"), "{");
    }
}
