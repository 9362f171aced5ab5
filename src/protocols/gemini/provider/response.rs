//! Reads a whole `GenerateContentResponse`, its usage, and errors into the neutral form.

use crate::protocols::gemini::vocabulary::{ERROR_STATUSES, FINISH_REASONS};
use crate::protocols::json::document::{Document, Scratch};
use crate::protocols::neutral::request::Part;
use crate::protocols::neutral::response::{Choice, ProviderError, Response, Stop};
use crate::protocols::provider_api::{ErrorDetail, UnreadableBody};
use crate::protocols::usage::Usage;
use std::borrow::Cow;
use std::time::Duration;

/// Reads a whole response.
///
/// # Errors
/// The response lacks a required field.
pub(crate) fn read<'d>(document: &Document<'d>) -> Result<Response<'d>, UnreadableBody> {
    let candidates = document.field(0, "candidates");
    let mut choices: Vec<Choice<'d>> = Vec::with_capacity(1);
    for at in candidates
        .and_then(|at| document.elements(at))
        .into_iter()
        .flatten()
    {
        choices.push(candidate(document, at));
    }
    if choices.is_empty() {
        if !is_blocked(document) {
            return Err(UnreadableBody("no candidates"));
        }
        choices.push(Choice {
            parts: Vec::new(),
            stop: Stop::Refused,
            stop_sequence: None,
            logprobs: None,
        });
    }
    Ok(Response {
        id: document.text_of(0, "responseId").unwrap_or_default(),
        model: document.text_of(0, "modelVersion").unwrap_or_default(),
        created: None,
        choices,
        usage: usage(document),
    })
}

/// Whether the prompt was blocked: then there is no candidate.
#[must_use]
pub(crate) fn is_blocked(document: &Document<'_>) -> bool {
    let feedback = document.field(0, "promptFeedback");
    feedback.is_some_and(|at| document.text_of(at, "blockReason").is_some())
}

fn candidate<'d>(document: &Document<'d>, at: usize) -> Choice<'d> {
    let mut parts = Vec::with_capacity(2);
    let mut calls = false;
    for node in parts_of(document, at) {
        let piece = Piece::read(document, node);
        piece.add_to(&mut parts);
        calls |= matches!(piece.what, What::Call { .. });
    }
    Choice {
        parts,
        stop: stop(
            document.text_of(at, "finishReason").unwrap_or_default(),
            calls,
        ),
        stop_sequence: None,
        logprobs: None,
    }
}

/// The parts of a candidate's content.
pub(crate) fn parts_of<'d>(
    document: &Document<'d>,
    candidate: usize,
) -> impl Iterator<Item = usize> + use<'d> {
    let content = document.field(candidate, "content");
    let parts = content.and_then(|at| document.field(at, "parts"));
    parts
        .and_then(|at| document.elements(at))
        .into_iter()
        .flatten()
}

/// A part of a response.
pub(crate) struct Piece<'d> {
    /// The content.
    pub what: What<'d>,
    /// The signature of the part.
    pub seal: Option<&'d str>,
}

/// The content of a part.
pub(crate) enum What<'d> {
    Text(&'d str),
    Thought(&'d str),
    /// A tool call.
    Call {
        id: &'d str,
        name: &'d str,
        arguments: &'d str,
    },
    /// A kind that only this API has: code that the provider ran, media that it generated.
    Other,
}

impl<'d> Piece<'d> {
    /// Reads the part at `node`.
    #[must_use]
    pub(crate) fn read(document: &Document<'d>, node: usize) -> Self {
        let seal = document.text_of(node, "thoughtSignature");
        let is_thought = document
            .field(node, "thought")
            .and_then(|at| document.boolean(at));
        let what = match document.text_of(node, "text") {
            Some(text) if is_thought == Some(true) => What::Thought(text),
            Some(text) => What::Text(text),
            None => match document.field(node, "functionCall") {
                Some(call) => What::Call {
                    id: document.text_of(call, "id").unwrap_or_default(),
                    name: document.text_of(call, "name").unwrap_or_default(),
                    arguments: document.raw_of(call, "args").unwrap_or("{}"),
                },
                None => What::Other,
            },
        };
        Self {
            what,
            seal: seal.filter(|seal| !seal.is_empty()),
        }
    }

    /// Appends the part. A signature on anything but a thought becomes an empty thought before the part, or is added
    /// to the thought that precedes it.
    fn add_to(&self, parts: &mut Vec<Part<'d>>) {
        let (text, signature) = match self.what {
            What::Thought(text) => (text, self.seal),
            _ => ("", self.seal),
        };
        match parts.last_mut() {
            Some(Part::Thinking {
                signature: open @ None,
                ..
            }) if text.is_empty() && signature.is_some() => *open = signature,
            _ if text.is_empty() && signature.is_none() => {}
            _ => parts.push(Part::Thinking { text, signature }),
        }
        match self.what {
            What::Text(text) if !text.is_empty() => parts.push(Part::text(text)),
            What::Call {
                id,
                name,
                arguments,
            } => parts.push(Part::ToolCall {
                id,
                name,
                arguments,
                cache: None,
            }),
            _ => {}
        }
    }
}

/// The meaning of a `finishReason`. It does not say that tools are to be called.
#[must_use]
pub(crate) fn stop(reason: &str, has_calls: bool) -> Stop {
    let found = FINISH_REASONS.iter().find(|(name, _)| *name == reason);
    match found.map_or(Stop::End, |(_, stop)| *stop) {
        Stop::End if has_calls => Stop::ToolCalls,
        stop => stop,
    }
}

/// The usage of a response or chunk. `candidatesTokenCount` leaves out the tokens of thinking, and `promptTokenCount`
/// leaves out what the provider's tools added to the prompt.
#[must_use]
pub(crate) fn usage(document: &Document<'_>) -> Option<Usage> {
    let at = document.field(0, "usageMetadata")?;
    let count = |name| document.unsigned_of(at, name);
    let prompt =
        count("promptTokenCount")?.saturating_add(count("toolUsePromptTokenCount").unwrap_or(0));
    let (candidates, thoughts) = (
        count("candidatesTokenCount").unwrap_or(0),
        count("thoughtsTokenCount"),
    );
    let separate = candidates.saturating_add(thoughts.unwrap_or(0));
    // Some models include thinking in `candidatesTokenCount`; then the total equals the sum without it.
    let is_within = thoughts.is_some_and(|thoughts| thoughts > 0 && thoughts <= candidates)
        && count("totalTokenCount") == Some(prompt.saturating_add(candidates));
    Some(Usage {
        prompt,
        cached: count("cachedContentTokenCount").unwrap_or(0),
        cache_write: 0,
        completion: if is_within { candidates } else { separate },
        reasoning: thoughts,
    })
}

/// Reads an error body, alone or in an array, or an error in a stream. `status` 0: the status follows from the error.
#[must_use]
pub(crate) fn read_error<'d>(status: u16, document: &Document<'d>) -> ProviderError<'d> {
    let error = error_of(document);
    let kind = error.and_then(|at| document.text_of(at, "status"));
    let message = error.and_then(|at| document.text_of(at, "message"));
    let reported_status = || {
        let code = error.and_then(|at| document.unsigned_of(at, "code"));
        let code = code.and_then(|code| u16::try_from(code).ok());
        let named = ERROR_STATUSES.iter().find(|(_, name)| Some(*name) == kind);
        code.filter(|code| (400..600).contains(code))
            .or(named.map(|(status, _)| *status))
            .unwrap_or(500)
    };
    let status = match status {
        0 => reported_status(),
        400 if is_about_the_key(document) => 401,
        status => status,
    };
    ProviderError {
        status,
        message: Cow::Borrowed(message.unwrap_or("the provider gave no reason")),
        kind,
        param: None,
        window_exceeded: false,
    }
}

/// The node of the error object.
fn error_of(document: &Document<'_>) -> Option<usize> {
    let whole = document.elements(0).and_then(|mut all| all.next());
    document.field(whole.unwrap_or(0), "error")
}

fn details<'d>(document: &Document<'d>) -> impl Iterator<Item = usize> + use<'d> {
    let list = error_of(document).and_then(|at| document.field(at, "details"));
    list.and_then(|at| document.elements(at))
        .into_iter()
        .flatten()
}

/// The API reports a wrong API key as a bad request.
fn is_about_the_key(document: &Document<'_>) -> bool {
    details(document).any(|at| document.text_of(at, "reason") == Some("API_KEY_INVALID"))
}

/// Reads from an error body whether the API key is wrong, and how long to wait (`google.rpc.RetryInfo`, in seconds
/// with the suffix `s`).
#[must_use]
pub(crate) fn read_error_detail(status: u16, body: &[u8]) -> ErrorDetail {
    let mut detail = ErrorDetail {
        status,
        retry_after: None,
    };
    if !matches!(status, 400 | 429 | 503) {
        return detail;
    }
    let read = Scratch::default().with_document(body, |document| {
        let mut delays = details(document).filter_map(|at| document.text_of(at, "retryDelay"));
        let seconds = delays.find_map(|text| text.strip_suffix('s')?.parse::<f64>().ok());
        let is_key = status == 400 && is_about_the_key(document);
        (seconds.filter(|seconds| *seconds > 0.0), is_key)
    });
    let (seconds, is_key) = read.unwrap_or_default();
    detail.retry_after = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    if is_key {
        detail.status = 401;
    }
    detail
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usage_of(json: &str) -> Usage {
        let json = format!("{{\"usageMetadata\":{json}}}");
        Scratch::default()
            .with_document(json.as_bytes(), usage)
            .unwrap()
            .unwrap()
    }

    #[test]
    fn thinking_tokens_count_as_completion_in_both_forms() {
        let apart = usage_of(
            r#"{"promptTokenCount":10,"cachedContentTokenCount":4,"candidatesTokenCount":5,"thoughtsTokenCount":7,"totalTokenCount":22}"#,
        );
        assert_eq!((apart.prompt, apart.cached, apart.completion), (10, 4, 12));
        let within = usage_of(
            r#"{"promptTokenCount":10,"candidatesTokenCount":12,"thoughtsTokenCount":7,"totalTokenCount":22}"#,
        );
        assert_eq!((within.prompt, within.completion), (10, 12));
        assert_eq!(within.reasoning, Some(7));
        let tools = usage_of(
            r#"{"promptTokenCount":10,"toolUsePromptTokenCount":3,"candidatesTokenCount":1,"totalTokenCount":14}"#,
        );
        assert_eq!((tools.prompt, tools.completion), (13, 1));
    }

    #[test]
    fn an_error_body_has_the_retry_delay_and_names_a_wrong_key() {
        let limited = br#"[{"error":{"code":429,"status":"RESOURCE_EXHAUSTED","details":[{"@type":"type.googleapis.com/google.rpc.QuotaFailure"},{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"31.5s"}]}}]"#;
        let limited_detail = read_error_detail(429, limited);
        assert_eq!(
            limited_detail.retry_after,
            Some(Duration::from_millis(31_500))
        );
        assert_eq!(limited_detail.status, 429);
        let key = br#"{"error":{"code":400,"status":"INVALID_ARGUMENT","details":[{"reason":"API_KEY_INVALID"}]}}"#;
        assert_eq!(read_error_detail(400, key).status, 401);
        assert_eq!(read_error_detail(400, b"{}").status, 400);
        assert_eq!(read_error_detail(429, b"nonsense").retry_after, None);
        for delay in ["-1s", "soon", "1e400s", "NaNs", "0s"] {
            let body = format!(r#"{{"error":{{"details":[{{"retryDelay":"{delay}"}}]}}}}"#);
            assert_eq!(
                read_error_detail(429, body.as_bytes()).retry_after,
                None,
                "{delay}"
            );
        }
    }
}
