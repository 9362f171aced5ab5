//! Recognises a provider's rejection of a request because of its content: another model may accept the request. It
//! must not know how the gateway reacts.

use serde::Deserialize;

/// Why a request is rejected, if another model may accept it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The request is longer than the model's context window.
    ContextLength,
    /// The provider's content policy forbids the request.
    ContentPolicy,
}

/// Error codes and types of these rejections: OpenAI and compatible servers (`context_length_exceeded`,
/// `content_policy_violation`, `invalid_prompt`), Azure (`content_filter`, `ResponsibleAIPolicyViolation`), OpenAI's
/// Responses (`string_above_max_length`), llama.cpp (`exceed_context_size_error`), DashScope
/// (`data_inspection_failed`).
const CODES: [(&str, Refusal); 7] = [
    ("context_length_exceeded", Refusal::ContextLength),
    ("string_above_max_length", Refusal::ContextLength),
    ("exceed_context_size_error", Refusal::ContextLength),
    ("content_filter", Refusal::ContentPolicy),
    ("content_policy_violation", Refusal::ContentPolicy),
    ("ResponsibleAIPolicyViolation", Refusal::ContentPolicy),
    ("data_inspection_failed", Refusal::ContentPolicy),
];

/// Phrases, in lower case, of providers without such a code: Anthropic, vLLM and Mistral, Gemini, Bedrock; then
/// Anthropic, OpenAI, DeepSeek.
const WORDS: [(&str, Refusal); 8] = [
    ("prompt is too long", Refusal::ContextLength),
    ("maximum context length", Refusal::ContextLength),
    (
        "exceeds the maximum number of tokens",
        Refusal::ContextLength,
    ),
    ("input is too long", Refusal::ContextLength),
    ("content filtering policy", Refusal::ContentPolicy),
    ("content management policy", Refusal::ContentPolicy),
    ("our usage policy", Refusal::ContentPolicy),
    ("content exists risk", Refusal::ContentPolicy),
];

/// An error body: its fields are at the top level (vLLM, Mistral) or under `error` (all others).
#[derive(Deserialize, Default)]
#[serde(default)]
struct Envelope {
    error: serde_json::Value,
    #[serde(flatten)]
    top: serde_json::Map<String, serde_json::Value>,
}

/// Why a response with this status and body rejects the request; `None` if it does not, or for another reason.
#[must_use]
pub(crate) fn refusal(status: u16, body: &[u8]) -> Option<Refusal> {
    if !matches!(status, 400 | 413 | 422) {
        return None;
    }
    let envelope: Envelope = serde_json::from_slice(body).ok()?;
    let top = serde_json::Value::Object(envelope.top);
    let found = [&envelope.error, &top]
        .into_iter()
        .find_map(|error| by_code(error).or_else(|| by_words(error)));
    found.or((status == 413).then_some(Refusal::ContextLength))
}

/// Phrases, in lower case, of a 401 or 403 that is about the content of the request, and not about the key: OpenRouter's
/// moderation; Gemini's files and cached contents that the request names.
const FORBIDDEN_CONTENT: [&str; 4] = [
    "input was flagged",
    "requires moderation",
    "permission to access the file",
    "cachedcontent not found",
];

/// Whether a 401 or 403 with this body is about the content of the request: it says nothing about the gateway's key.
#[must_use]
pub(crate) fn is_about_content(status: u16, body: &[u8]) -> bool {
    if !matches!(status, 401 | 403) {
        return false;
    }
    let Ok(envelope) = serde_json::from_slice::<Envelope>(body) else {
        return false;
    };
    let top = serde_json::Value::Object(envelope.top);
    [&envelope.error, &top].into_iter().any(|error| {
        let message = error.as_str().or_else(|| error["message"].as_str());
        let message = message.unwrap_or_default().to_lowercase();
        let is_named = FORBIDDEN_CONTENT
            .iter()
            .any(|words| message.contains(words));
        is_named || by_code(error) == Some(Refusal::ContentPolicy)
    })
}

fn by_code(error: &serde_json::Value) -> Option<Refusal> {
    let codes = [&error["code"], &error["type"], &error["innererror"]["code"]];
    codes
        .into_iter()
        .filter_map(serde_json::Value::as_str)
        .find_map(|code| {
            let named = CODES.iter().find(|(known, _)| *known == code);
            named.map(|(_, refusal)| *refusal)
        })
}

fn by_words(error: &serde_json::Value) -> Option<Refusal> {
    let message = error.as_str().or_else(|| error["message"].as_str())?;
    let message = message.to_lowercase();
    let named = WORDS.iter().find(|(words, _)| message.contains(words));
    named.map(|(_, refusal)| *refusal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_403_about_the_content_is_not_about_the_key() {
        for (status, body, expected) in [
            (
                403,
                r#"{"error":{"code":403,"message":"Your chosen model requires moderation and your input was flagged","metadata":{"reasons":["violence"]}}}"#,
                true,
            ),
            (
                403,
                r#"{"error":{"code":403,"message":"You do not have permission to access the File abc or it may not exist.","status":"PERMISSION_DENIED"}}"#,
                true,
            ),
            (
                403,
                r#"{"error":{"code":403,"message":"CachedContent not found (or permission denied)","status":"PERMISSION_DENIED"}}"#,
                true,
            ),
            (
                403,
                r#"{"error":{"message":"x","code":"content_policy_violation"}}"#,
                true,
            ),
            (
                403,
                r#"{"error":{"message":"The caller does not have permission","status":"PERMISSION_DENIED"}}"#,
                false,
            ),
            (
                401,
                r#"{"error":{"message":"Incorrect API key provided","code":"invalid_api_key"}}"#,
                false,
            ),
            (
                500,
                r#"{"error":{"message":"your input was flagged"}}"#,
                false,
            ),
            (403, "no JSON", false),
        ] {
            assert_eq!(
                is_about_content(status, body.as_bytes()),
                expected,
                "{body}"
            );
        }
    }

    #[test]
    fn refusals_of_providers_are_recognised() {
        use Refusal::{ContentPolicy, ContextLength};
        let cases = [
            // OpenAI
            (
                400,
                r#"{"error":{"message":"This model's maximum context length is 128000 tokens.","type":"invalid_request_error","param":"messages","code":"context_length_exceeded"}}"#,
                Some(ContextLength),
            ),
            (
                400,
                r#"{"error":{"message":"x","type":"image_generation_user_error","code":"content_policy_violation"}}"#,
                Some(ContentPolicy),
            ),
            // Azure
            (
                400,
                r#"{"error":{"message":"The response was filtered","code":"content_filter","status":400,"innererror":{"code":"ResponsibleAIPolicyViolation"}}}"#,
                Some(ContentPolicy),
            ),
            // Anthropic
            (
                400,
                r#"{"type":"error","error":{"type":"invalid_request_error","message":"prompt is too long: 208310 tokens > 200000 maximum"}}"#,
                Some(ContextLength),
            ),
            (
                400,
                r#"{"type":"error","error":{"type":"invalid_request_error","message":"Output blocked by content filtering policy"}}"#,
                Some(ContentPolicy),
            ),
            // vLLM
            (
                400,
                r#"{"object":"error","message":"This model's maximum context length is 4096 tokens. However, you requested 5000 tokens","type":"BadRequestError","code":400}"#,
                Some(ContextLength),
            ),
            // Gemini
            (
                400,
                r#"{"error":{"code":400,"message":"The input token count (1200000) exceeds the maximum number of tokens allowed (1048576).","status":"INVALID_ARGUMENT"}}"#,
                Some(ContextLength),
            ),
            // llama.cpp
            (
                400,
                r#"{"error":{"code":400,"message":"the request exceeds the available context size","type":"exceed_context_size_error"}}"#,
                Some(ContextLength),
            ),
            (413, r#"{"error":"too large"}"#, Some(ContextLength)),
            // Others
            (
                400,
                r#"{"error":{"message":"'temperature' is too high","code":"invalid_value"}}"#,
                None,
            ),
            (404, r#"{"error":{"code":"context_length_exceeded"}}"#, None),
            (429, r#"{"error":{"code":"context_length_exceeded"}}"#, None),
            (400, "no JSON", None),
            (400, "[1]", None),
        ];
        for (status, body, expected) in cases {
            assert_eq!(refusal(status, body.as_bytes()), expected, "{body}");
        }
    }
}
