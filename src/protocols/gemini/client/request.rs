//! Reads a `GenerateContentRequest` into the neutral form, after `prepare.rs` added ids and schemas.

use crate::error::gateway_error::GatewayError;
use crate::protocols::gemini::client::errors::bad;
use crate::protocols::gemini::client::fields::{list_of, node_of, plain, raw_of, text_of};
use crate::protocols::gemini::vocabulary::NO_SEAL;
use crate::protocols::json::document::Document;
use crate::protocols::neutral::request::{
    Format, Message, Part, Request, Role, Source, Tool, ToolChoice,
};
use crate::protocols::neutral::unsupported_fields::UnsupportedFields;

/// Reads a request. The path says whether it is a stream; some providers need it in the body.
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
        match plain(name).as_str() {
            "model" => {}
            "contents" => contents(document, value, unsupported, &mut request.messages)?,
            "systeminstruction" => {
                let parts = parts(document, value, name, unsupported)?;
                let system = Message {
                    role: Role::System,
                    parts,
                    at: 0,
                };
                request.messages.insert(0, system);
            }
            "generationconfig" => generation(document, value, unsupported, &mut request)?,
            "tools" => tools(document, value, unsupported, &mut request.tools)?,
            "toolconfig" => tool_config(document, value, unsupported, &mut request)?,
            "safetysettings" => safety(document, value, unsupported)?,
            "labels" => unsupported.note_dropped(name),
            _ => unsupported.reject_or_drop(name)?,
        }
    }
    Ok(request)
}

fn contents<'d>(
    document: &Document<'d>,
    list: usize,
    unsupported: &mut UnsupportedFields,
    messages: &mut Vec<Message<'d>>,
) -> Result<(), GatewayError> {
    let elements = document
        .elements(list)
        .ok_or_else(|| bad("contents", "must be an array"))?;
    for (at, node) in elements.enumerate() {
        let path = format!("contents[{at}]");
        let role = match text_of(document, node, "role") {
            None | Some("user" | "function") => Role::User,
            Some("model") => Role::Assistant,
            _ => return Err(bad(&format!("{path}.role"), "is not a supported role")),
        };
        let parts = parts(document, node, &path, unsupported)?;
        messages.push(Message { role, parts, at });
    }
    Ok(())
}

fn parts<'d>(
    document: &Document<'d>,
    content: usize,
    path: &str,
    unsupported: &mut UnsupportedFields,
) -> Result<Vec<Part<'d>>, GatewayError> {
    let mut read = Vec::new();
    for (at, node) in list_of(document, content, "parts").enumerate() {
        let path = format!("{path}.parts[{at}]");
        for (name, _) in document.fields(node).into_iter().flatten() {
            // Options for processing video, and results of the provider's own tools.
            if !KNOWN.contains(&plain(name).as_str()) {
                unsupported.reject_or_drop(&format!("{path}.{name}"))?;
            }
        }
        if !part(document, node, &mut read) {
            unsupported.reject_or_drop(&path)?;
        }
    }
    Ok(read)
}

/// Fields of a part that are read.
const KNOWN: [&str; 7] = [
    "text",
    "thought",
    "thoughtsignature",
    "inlinedata",
    "filedata",
    "functioncall",
    "functionresponse",
];

/// Appends a part; false if its type is unknown. A signature on anything but a thought becomes an empty thought
/// before the part.
fn part<'d>(document: &Document<'d>, node: usize, parts: &mut Vec<Part<'d>>) -> bool {
    let seal = text_of(document, node, "thoughtsignature");
    let signature = seal.filter(|seal| !seal.is_empty() && *seal != NO_SEAL);
    let text = text_of(document, node, "text");
    let is_thought = node_of(document, node, "thought").and_then(|at| document.boolean(at));
    if let (Some(text), Some(true)) = (text, is_thought) {
        parts.push(Part::Thinking { text, signature });
        return true;
    }
    if signature.is_some() {
        let text = "";
        parts.push(Part::Thinking { text, signature });
    }
    if let Some(text) = text {
        if !text.is_empty() {
            parts.push(Part::text(text));
        }
        return true;
    }
    let read = inline(document, node)
        .or_else(|| file(document, node))
        .or_else(|| call(document, node))
        .or_else(|| result(document, node));
    let is_known = read.is_some();
    parts.extend(read);
    is_known
}

fn inline<'d>(document: &Document<'d>, node: usize) -> Option<Part<'d>> {
    let inline = node_of(document, node, "inlinedata")?;
    let media_type = text_of(document, inline, "mimetype")?;
    let data = text_of(document, inline, "data")?;
    let source = Source::Base64 { media_type, data };
    Some(match media_type.split_once('/') {
        Some(("image", _)) => Part::Image {
            source,
            detail: None,
            cache: None,
        },
        Some(("audio", kind)) => Part::Audio {
            data,
            format: match kind {
                "mpeg" => "mp3",
                "x-wav" | "wave" => "wav",
                kind => kind,
            },
        },
        _ => document_part(source),
    })
}

fn file<'d>(document: &Document<'d>, node: usize) -> Option<Part<'d>> {
    let file = node_of(document, node, "filedata")?;
    let source = Source::Url(text_of(document, file, "fileuri")?);
    let media_type = text_of(document, file, "mimetype").unwrap_or_default();
    Some(match media_type.starts_with("image/") {
        true => Part::Image {
            source,
            detail: None,
            cache: None,
        },
        false => document_part(source),
    })
}

fn document_part(source: Source<'_>) -> Part<'_> {
    Part::Document {
        source,
        title: None,
        cache: None,
    }
}

fn call<'d>(document: &Document<'d>, node: usize) -> Option<Part<'d>> {
    let call = node_of(document, node, "functioncall")?;
    Some(Part::ToolCall {
        id: text_of(document, call, "id").unwrap_or_default(),
        name: text_of(document, call, "name")?,
        arguments: raw_of(document, call, "args").unwrap_or("{}"),
        cache: None,
    })
}

/// A tool result: plain text if it holds nothing else, otherwise its JSON.
fn result<'d>(document: &Document<'d>, node: usize) -> Option<Part<'d>> {
    let result = node_of(document, node, "functionresponse")?;
    let response = node_of(document, result, "response");
    let only = response.and_then(|at| {
        let mut fields = document.fields(at)?;
        let (name, value) = fields.next()?;
        let is_only = fields.next().is_none();
        Some((name, document.text(value)?)).filter(|_| is_only)
    });
    let (words, is_error) = match only {
        Some(("output" | "result", words)) => (Some(words), false),
        Some(("error", words)) => (Some(words), true),
        _ => (raw_of(document, result, "response"), false),
    };
    let mut parts: Vec<Part<'d>> = words.map(Part::text).into_iter().collect();
    for node in list_of(document, result, "parts") {
        parts.extend(inline(document, node).or_else(|| file(document, node)));
    }
    Some(Part::ToolResult {
        id: text_of(document, result, "id").unwrap_or_default(),
        is_error,
        parts,
        cache: None,
    })
}

fn tools<'d>(
    document: &Document<'d>,
    list: usize,
    unsupported: &mut UnsupportedFields,
    tools: &mut Vec<Tool<'d>>,
) -> Result<(), GatewayError> {
    for (at, node) in document.elements(list).into_iter().flatten().enumerate() {
        for (name, value) in document.fields(node).into_iter().flatten() {
            if plain(name).as_str() != "functiondeclarations" {
                // A tool that the provider runs.
                unsupported.reject_or_drop(&format!("tools[{at}].{name}"))?;
                continue;
            }
            for node in document.elements(value).into_iter().flatten() {
                let name = text_of(document, node, "name");
                let schema = raw_of(document, node, "parametersjsonschema");
                tools.push(Tool {
                    name: name.ok_or_else(|| bad("functionDeclarations.name", "is missing"))?,
                    description: text_of(document, node, "description"),
                    parameters: schema.or_else(|| raw_of(document, node, "parameters")),
                    strict: None,
                    cache: None,
                });
                for name in ["response", "responsejsonschema"] {
                    if node_of(document, node, name).is_some() {
                        unsupported.note_dropped("functionDeclarations.response");
                    }
                }
            }
        }
    }
    Ok(())
}

fn tool_config<'d>(
    document: &Document<'d>,
    value: usize,
    unsupported: &mut UnsupportedFields,
    request: &mut Request<'d>,
) -> Result<(), GatewayError> {
    let mut is_validated = false;
    for (name, value) in document.fields(value).into_iter().flatten() {
        if plain(name).as_str() != "functioncallingconfig" {
            unsupported.reject_or_drop(&format!("toolConfig.{name}"))?;
            continue;
        }
        let mut allowed =
            list_of(document, value, "allowedfunctionnames").filter_map(|at| document.text(at));
        let only = (allowed.next(), allowed.next());
        request.tool_choice = match (text_of(document, value, "mode"), only) {
            (Some("NONE"), _) => Some(ToolChoice::None),
            (Some("ANY"), (Some(name), None)) => Some(ToolChoice::Tool(name)),
            (Some("ANY"), (None, _)) => Some(ToolChoice::Any),
            (None | Some("AUTO" | "VALIDATED" | "MODE_UNSPECIFIED"), (None, _)) => {
                Some(ToolChoice::Auto)
            }
            _ => {
                unsupported
                    .reject_or_drop("toolConfig.functionCallingConfig.allowedFunctionNames")?;
                Some(ToolChoice::Any)
            }
        };
        is_validated |= text_of(document, value, "mode") == Some("VALIDATED");
    }
    // Once, and not for each field: a field's name has many spellings.
    for tool in request.tools.iter_mut().filter(|_| is_validated) {
        tool.strict = Some(true);
    }
    Ok(())
}

/// Safety filters, which other APIs lack. A request without filters loses nothing.
fn safety(
    document: &Document<'_>,
    list: usize,
    unsupported: &mut UnsupportedFields,
) -> Result<(), GatewayError> {
    let mut settings = document.elements(list).into_iter().flatten();
    let is_off = |at| {
        matches!(
            text_of(document, at, "threshold"),
            Some("BLOCK_NONE" | "OFF")
        )
    };
    match settings.all(is_off) {
        true => Ok(()),
        false => unsupported.reject_or_drop("safetySettings"),
    }
}

fn generation<'d>(
    document: &Document<'d>,
    config: usize,
    unsupported: &mut UnsupportedFields,
    request: &mut Request<'d>,
) -> Result<(), GatewayError> {
    let (mut media_type, mut schema) = (None, None);
    for (name, value) in document.fields(config).into_iter().flatten() {
        if document.is_null(value) {
            continue;
        }
        let raw = || {
            document
                .raw(name)
                .filter(|_| document.number(value).is_some())
        };
        let sampling = &mut request.sampling;
        match plain(name).as_str() {
            "maxoutputtokens" => sampling.max_tokens = document.unsigned(value),
            "temperature" => sampling.temperature = raw(),
            "topp" => sampling.top_p = raw(),
            // An integer, which Google's own SDK writes as `40.0`.
            "topk" => sampling.top_k = raw().map(|raw| raw.strip_suffix(".0").unwrap_or(raw)),
            "seed" => sampling.seed = raw(),
            "presencepenalty" => sampling.presence_penalty = raw(),
            "frequencypenalty" => sampling.frequency_penalty = raw(),
            "candidatecount" => sampling.n = document.unsigned(value).filter(|n| *n != 1),
            "stopsequences" => {
                let texts = document.elements(value).into_iter().flatten();
                sampling.stop = texts.filter_map(|at| document.text(at)).collect();
            }
            "responsemimetype" => media_type = document.text(value),
            "responseschema" | "responsejsonschema" => schema = document.raw(name),
            "thinkingconfig" => thinking(document, value, request),
            "responsemodalities" if is_text_only(document, value) => {}
            "responselogprobs" if document.boolean(value) == Some(false) => {}
            _ => unsupported.reject_or_drop(&format!("generationConfig.{name}"))?,
        }
    }
    request.format = match (media_type, schema) {
        (_, Some(schema)) => Format::JsonSchema {
            name: None,
            description: None,
            schema,
            strict: None,
        },
        (Some("application/json"), None) => Format::JsonObject,
        (None | Some("text/plain"), None) => Format::Text,
        (Some(_), None) => {
            unsupported.reject_or_drop("generationConfig.responseMimeType")?;
            Format::Text
        }
    };
    Ok(())
}

fn is_text_only(document: &Document<'_>, list: usize) -> bool {
    let mut all = document.elements(list).into_iter().flatten();
    all.all(|at| {
        document
            .text(at)
            .is_some_and(|kind| kind.eq_ignore_ascii_case("text"))
    })
}

/// `includeThoughts` needs no translation: every provider that thinks returns its thoughts.
fn thinking<'d>(document: &Document<'d>, config: usize, request: &mut Request<'d>) {
    let budget = node_of(document, config, "thinkingbudget");
    // -1 lets the model decide.
    request.reasoning.budget_tokens = budget.and_then(|at| document.unsigned(at));
    let level = text_of(document, config, "thinkinglevel").map(str::to_ascii_lowercase);
    request.reasoning.effort = match level.as_deref() {
        Some("minimal") => Some("minimal"),
        Some("low") => Some("low"),
        Some("medium") => Some("medium"),
        Some("high") => Some("high"),
        _ => None,
    };
}
