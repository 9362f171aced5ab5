//! Requests that are forwarded without translation: OpenAI's other endpoints, where only the model is read, and the
//! provider proxy under `/providers/{name}/…`, where only the path is read.
//!
//! Pure functions over bytes; it must not know which providers there are.

use crate::error::code::ErrorCode;
use crate::error::gateway_error::GatewayError;
use crate::protocols::json::document::Scratch;
use crate::protocols::json::multipart;
use crate::protocols::json::splice::Edit;
use crate::protocols::operation_kind::OperationKind;
use crate::protocols::request::top_level::{read_top, usage_option};
use crate::protocols::usage::Usage;
use std::ops::Range;

/// An endpoint whose requests are forwarded to the provider of the model that the body names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Endpoint {
    /// The path after a provider's base URL.
    pub path: &'static str,
    /// The operation in metrics and logs.
    pub operation: OperationKind,
}

const fn endpoint(path: &'static str, operation: OperationKind) -> Endpoint {
    Endpoint { path, operation }
}

/// Legacy completions; their streams are read for usage.
pub(crate) const COMPLETIONS: Endpoint = endpoint("/completions", OperationKind::TextCompletion);

/// All passthrough endpoints (OpenAI's API reference).
pub(crate) const ENDPOINTS: [Endpoint; 8] = [
    COMPLETIONS,
    endpoint("/moderations", OperationKind::Moderation),
    endpoint("/images/generations", OperationKind::Image),
    endpoint("/images/edits", OperationKind::Image),
    endpoint("/images/variations", OperationKind::Image),
    endpoint("/audio/speech", OperationKind::Speech),
    endpoint("/audio/transcriptions", OperationKind::Transcription),
    endpoint("/audio/translations", OperationKind::Transcription),
];

/// Resources that a provider stores, so that a request about them belongs to one provider: the first path segment and
/// the operation.
const PROVIDER_RESOURCES: [(&str, OperationKind); 2] = [
    ("files", OperationKind::Files),
    ("batches", OperationKind::Batches),
];

/// A path that is forwarded to a provider unchanged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ProviderProxy<'t> {
    /// The provider that the path names; `None` if a header or the configuration names it.
    pub provider: Option<&'t str>,
    /// The path after the base URL, with its query.
    pub rest: &'t str,
    /// The operation in metrics and logs.
    pub operation: OperationKind,
}

/// The passthrough endpoint of `path`.
#[must_use]
pub(crate) fn endpoint_of(path: &str) -> Option<Endpoint> {
    let suffix = path.strip_prefix("/v1")?;
    ENDPOINTS
        .into_iter()
        .find(|endpoint| endpoint.path == suffix)
}

/// The provider proxy request of `target` (path and query), if it is one.
#[must_use]
pub(crate) fn provider_proxy(target: &str) -> Option<ProviderProxy<'_>> {
    if let Some(rest) = target.strip_prefix("/providers/") {
        let at = rest.find(['/', '?'])?;
        let (provider, rest) = rest.split_at_checked(at)?;
        return Some(ProviderProxy {
            provider: Some(provider),
            rest,
            operation: OperationKind::ProviderProxy,
        });
    }
    let rest = target.strip_prefix("/v1")?;
    let word = rest.strip_prefix('/')?.split(['/', '?']).next()?;
    let resource = PROVIDER_RESOURCES.iter().find(|(name, _)| *name == word)?;
    Some(ProviderProxy {
        provider: None,
        rest,
        operation: resource.1,
    })
}

/// Rounds of percent-decoding in the search for an encoded path segment.
const DECODINGS_MAX: usize = 4;

/// Rejects a path that could name another resource than it shows: a segment `.` or `..`, an empty segment, a
/// backslash, in any encoding. Other encoded characters are forwarded unchanged (`%2F` in a name).
///
/// # Errors
/// 400 `invalid_path`.
pub(crate) fn check_path(rest: &str) -> Result<(), GatewayError> {
    let path = rest.split('?').next().unwrap_or_default();
    let mut decoded = path.as_bytes().to_vec();
    for _ in 0..DECODINGS_MAX {
        if !is_plain(&decoded) {
            break;
        }
        let next = percent_decoded(&decoded);
        if next == decoded {
            return Ok(());
        }
        decoded = next;
    }
    Err(GatewayError::new(
        ErrorCode::InvalidPath,
        "the path contains an empty segment, `.`, `..`, a backslash or a control character, or is encoded too often",
    ))
}

/// Whether no segment of a path, at this round of decoding, can be read in two ways.
fn is_plain(path: &[u8]) -> bool {
    let Some(rest) = path.strip_prefix(b"/") else {
        return path.is_empty();
    };
    // The last segment is empty in a path that ends with a slash.
    let rest = rest.strip_suffix(b"/").unwrap_or(rest);
    let is_resolved = |segment: &[u8]| {
        // Some servers remove parameters before they resolve the segment.
        let name = segment.split(|byte| *byte == b';').next();
        matches!(name, Some(b"" | b"." | b".."))
    };
    let has_resolved = !rest.is_empty() && rest.split(|byte| *byte == b'/').any(is_resolved);
    let is_root = path.len() > 1 && rest.is_empty();
    !has_resolved && !is_root && !path.iter().any(|byte| is_forbidden(*byte))
}

/// Backslashes, control characters, and the first bytes of overlong forms of ASCII characters, which some servers decode.
fn is_forbidden(byte: u8) -> bool {
    byte == b'\\' || byte.is_ascii_control() || matches!(byte, 0xc0 | 0xc1)
}

fn percent_decoded(path: &[u8]) -> Vec<u8> {
    let digit = |at: usize| path.get(at).and_then(|byte| char::from(*byte).to_digit(16));
    let mut out = Vec::with_capacity(path.len());
    let mut at = 0;
    while let Some(byte) = path.get(at) {
        match (byte, digit(at + 1), digit(at + 2)) {
            (b'%', Some(high), Some(low)) => {
                out.push((high * 16 + low) as u8);
                at += 3;
            }
            _ => {
                out.push(*byte);
                at += 1;
            }
        }
    }
    out
}

/// The fields that are read of a passthrough request.
#[derive(Debug)]
pub(crate) struct Passthrough {
    /// The requested model.
    pub model: String,
    /// The range of the model's name in the body.
    pub model_range: Range<usize>,
    /// Whether a stream of events is requested.
    pub streams: bool,
    /// Whether the client requested the usage event of a stream.
    pub wants_usage: bool,
    /// The edit that requests the usage event from the provider.
    pub usage_edit: Option<Edit>,
}

/// Reads the model of a JSON or multipart body.
///
/// # Errors
/// 400 that names the position or the field, 415 for a body of another type.
pub(crate) fn read(
    endpoint: Endpoint,
    content_type: Option<&str>,
    body: &[u8],
    scratch: &mut Scratch,
) -> Result<Passthrough, GatewayError> {
    if let Some(boundary) = content_type.and_then(multipart::boundary) {
        let (model, model_range) = multipart::model(body, &boundary)?;
        return Ok(Passthrough {
            model,
            model_range,
            streams: false,
            wants_usage: true,
            usage_edit: None,
        });
    }
    let kind = content_type.and_then(|value| value.split(';').next());
    if kind.is_some_and(|kind| !kind.trim().eq_ignore_ascii_case("application/json")) {
        return Err(GatewayError::new(
            ErrorCode::UnsupportedMediaType,
            "this path accepts application/json or multipart/form-data with a boundary",
        ));
    }
    scratch
        .with_document(body, |document| {
            let top = read_top(body, document)?;
            let streams = top.stream.and_then(|at| document.boolean(at)) == Some(true);
            let (mut wants_usage, mut usage_edit) = (true, None);
            if streams && endpoint == COMPLETIONS {
                (wants_usage, usage_edit) = usage_option(body, document, top.stream_options)?;
            }
            Ok(Passthrough {
                model: top.model,
                model_range: top.model_range,
                streams,
                wants_usage,
                usage_edit,
            })
        })
        .map_err(|bad| GatewayError::new(ErrorCode::InvalidJson, bad.message))?
}

/// Bytes at the end of a response that are searched for usage.
pub(crate) const TAIL_BYTES: usize = 64 * 1024;

/// The last usage object in the end of a response, in any wire format.
#[must_use]
pub(crate) fn usage_in(tail: &[u8]) -> Option<Usage> {
    #[derive(serde::Deserialize, Default)]
    #[serde(default)]
    struct Details {
        cached_tokens: u64,
        reasoning_tokens: u64,
    }
    #[derive(serde::Deserialize, Default)]
    #[serde(default)]
    struct Raw {
        #[serde(alias = "input_tokens", alias = "promptTokenCount")]
        prompt_tokens: Option<u64>,
        #[serde(alias = "output_tokens", alias = "candidatesTokenCount")]
        completion_tokens: u64,
        #[serde(alias = "input_tokens_details")]
        prompt_tokens_details: Option<Details>,
        #[serde(alias = "output_tokens_details")]
        completion_tokens_details: Option<Details>,
        /// Anthropic's counts, which `input_tokens` does not include.
        cache_read_input_tokens: Option<u64>,
        cache_creation_input_tokens: Option<u64>,
        #[serde(rename = "thoughtsTokenCount")]
        thoughts: u64,
    }
    let key = |name: &[u8]| memchr::memmem::rfind(tail, name).map(|at| at + name.len());
    let at = key(b"\"usage\"").max(key(b"\"usageMetadata\""))?;
    let rest = tail.get(at..)?.trim_ascii_start().strip_prefix(b":")?;
    let raw = serde_json::Deserializer::from_slice(rest)
        .into_iter::<Raw>()
        .next()?
        .ok()?;
    let cache_read = raw.cache_read_input_tokens.unwrap_or(0);
    let cache_write = raw.cache_creation_input_tokens.unwrap_or(0);
    let prompt_details = raw.prompt_tokens_details.unwrap_or_default();
    let completion_details = raw.completion_tokens_details.unwrap_or_default();
    let prompt = raw
        .prompt_tokens?
        .saturating_add(cache_read)
        .saturating_add(cache_write);
    let completion = raw.completion_tokens.saturating_add(raw.thoughts);
    Some(Usage {
        prompt,
        completion,
        cached: cache_read
            .saturating_add(prompt_details.cached_tokens)
            .min(prompt),
        cache_write: cache_write.min(prompt),
        reasoning: Some(
            completion_details
                .reasoning_tokens
                .saturating_add(raw.thoughts)
                .min(completion),
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ambiguous_paths_are_rejected() {
        for good in [
            "",
            "/",
            "/fine_tuning/jobs?after=../x",
            "/a%2Fb",
            "/model/arn%3Aaws%2Fx/converse",
            "/a.b/..c/d..",
            "/100%",
        ] {
            assert!(check_path(good).is_ok(), "{good}");
        }
        for bad in [
            "/../x",
            "/a/..",
            "/./a",
            "/%2e%2e/x",
            "/%2E./x",
            "/a%2f..%2fb",
            "/%252e%252e/x",
            "/a\\b",
            "/a%5c..",
            "//evil.example/x",
            "/a//b",
            "/..;/x",
            "/%25252525252e%2e",
            "/a%00",
            "/%2f%2fevil/",
            "/%2F",
            "/%2fa",
            "/a/%2fb",
            "/a%2f/b",
            "/a%2f%2fb",
            "/a/b%2f/",
            "/a%252f%252fb",
            "/a%25252f%2fb",
            "/a%2f.%2fb",
            "/a%2f%2e",
            "/a/;x/b",
            "/a%2f%3bx/b",
            "/%c0%ae%c0%ae/x",
            "/a%c0%afb",
            "a/b",
            "//",
        ] {
            assert!(check_path(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn paths_select_endpoint_or_proxy() {
        assert_eq!(
            endpoint_of("/v1/audio/speech").unwrap().operation,
            OperationKind::Speech
        );
        assert_eq!(endpoint_of("/v1/audio/other"), None);
        let named = provider_proxy("/providers/openai/fine_tuning/jobs?limit=2").unwrap();
        assert_eq!(
            (named.provider, named.rest),
            (Some("openai"), "/fine_tuning/jobs?limit=2")
        );
        let files = provider_proxy("/v1/files/f-1/content").unwrap();
        assert_eq!(
            (files.provider, files.rest, files.operation),
            (None, "/files/f-1/content", OperationKind::Files)
        );
        for other in [
            "/v1/filesystem",
            "/providers/x",
            "/providersx/a",
            "/v1/models",
        ] {
            assert_eq!(provider_proxy(other), None, "{other}");
        }
    }

    #[test]
    fn usage_is_read_in_every_wire_format() {
        let found = |text: &str| {
            usage_in(text.as_bytes()).map(|usage| (usage.prompt, usage.completion, usage.cached))
        };
        assert_eq!(
            found(r#"{"usage":{"prompt_tokens":3,"completion_tokens":4}}"#),
            Some((3, 4, 0))
        );
        assert_eq!(
            found(r#"…"usage": {"input_tokens":3,"output_tokens":4,"cache_read_input_tokens":2}}"#),
            Some((5, 4, 2))
        );
        assert_eq!(
            found(
                r#"{"usageMetadata":{"promptTokenCount":3,"candidatesTokenCount":4,"thoughtsTokenCount":1}}"#
            ),
            Some((3, 5, 0))
        );
        assert_eq!(found(r#"{"usage":null}"#), None);
        assert_eq!(found("no"), None);
    }
}
