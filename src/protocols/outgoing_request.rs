//! Encodes one HTTP/1.1 request to a provider.

use crate::http::encode;
use crate::protocols::json::document;
use crate::protocols::json::splice;
use crate::protocols::json::splice::Edit;
use crate::signing::auth::{Auth, KeyHeader};
use crate::signing::sigv4::ToSign;
use std::ops::Range;

/// The operation of a request to a provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UpstreamOperation {
    /// A chat completion.
    Chat,
    /// Embeddings.
    Embeddings,
    /// The number of tokens of a request.
    CountTokens,
    /// Sorts documents by their relevance to a query.
    Rerank,
    /// A passthrough endpoint and its path.
    Passthrough(&'static str),
}

/// A request to encode.
pub struct OutgoingRequest<'r> {
    /// The operation.
    pub call: UpstreamOperation,
    /// Whether a stream is requested.
    pub streams: bool,
    /// The body.
    pub body: Body<'r>,
    /// Model name at the provider.
    pub model: &'r str,
    /// Path prefix of the base URL.
    pub base_path: &'r str,
    /// The API version in the path, if the API has versions.
    pub api_version: Option<&'r str>,
    /// Value of the `host` header.
    pub authority: &'r str,
    /// The credentials.
    pub auth: Auth<'r>,
    /// Encoded header lines of the client that are forwarded (`gateway::plan::forward_headers`).
    pub forwarded_headers: &'r [u8],
}

/// A request's body.
pub enum Body<'r> {
    /// The client's bytes with two edits.
    Spliced {
        /// The client's bytes.
        bytes: &'r [u8],
        /// The range of the model's name in them; empty if they do not contain it.
        model_range: &'r Range<usize>,
        /// The edit that requests usage in a stream.
        usage_edit: Option<&'r Edit>,
    },
    /// A body that was written for this provider.
    Written(&'r [u8]),
}

impl Body<'_> {
    /// The length of the body with the model name `model`, in bytes.
    #[must_use]
    pub fn len(&self, model: &str) -> usize {
        match self {
            Self::Written(bytes) => bytes.len(),
            Self::Spliced {
                bytes,
                model_range,
                usage_edit,
            } => {
                let by_usage = usage_edit.map_or(0, |edit| {
                    edit.with.len() as isize - edit.range.len() as isize
                });
                let mut by_model = 0;
                if !model_range.is_empty() {
                    let mut name = Vec::with_capacity(model.len() + 2);
                    document::write_string(&mut name, model);
                    by_model = name.len() as isize - 2 - model_range.len() as isize;
                }
                bytes.len().saturating_add_signed(by_usage + by_model)
            }
        }
    }

    /// Appends the body with the model name `model`.
    pub fn append(&self, model: &str, out: &mut Vec<u8>) {
        match self {
            Self::Written(bytes) => out.extend_from_slice(bytes),
            Self::Spliced {
                bytes,
                model_range,
                usage_edit,
            } => write_body(bytes, model_range, *usage_edit, model, out),
        }
    }
}

/// The content type of a body that a provider API wrote.
const JSON: &str = "application/json";

/// Appends the headers that authenticate the request. The headers that a signature covers are written to a separate
/// buffer first.
fn write_auth(request: &OutgoingRequest<'_>, path: &str, key_header: KeyHeader, out: &mut Vec<u8>) {
    let (mut whole_path, mut body) = (String::new(), Vec::new());
    if request.auth.signs() {
        whole_path = [request.base_path, path].concat();
        request.body.append(request.model, &mut body);
    }
    let (path, query) = whole_path.split_once('?').unwrap_or((&whole_path, ""));
    let kind = match request.call {
        // For example a form: the forwarded header names its type.
        UpstreamOperation::Passthrough(_) => line_of(request.forwarded_headers, "content-type"),
        _ => Some(JSON),
    };
    let headers = [
        ("host", request.authority),
        ("content-type", kind.unwrap_or_default()),
    ];
    let sent = ToSign {
        method: "POST",
        path,
        query,
        headers: headers
            .get(..1 + usize::from(kind.is_some()))
            .unwrap_or(&headers),
        body: &body,
    };
    request.auth.write(out, key_header, &sent);
}

/// The value of the header `name` among encoded header lines.
fn line_of<'l>(lines: &'l [u8], name: &str) -> Option<&'l str> {
    let lines = std::str::from_utf8(lines).ok()?.split("\r\n");
    lines
        .filter_map(|line| line.split_once(':'))
        .find(|(own, _)| own.eq_ignore_ascii_case(name))
        .map(|(_, value)| value.trim())
}

/// Appends a POST with a JSON body. `key_header` carries the API key, `headers` are encoded header lines of the
/// provider API. Client headers that frame a message are never forwarded, because this head is written from scratch.
pub(crate) fn post(
    request: &OutgoingRequest<'_>,
    path: &str,
    key_header: KeyHeader,
    headers: &[u8],
    out: &mut Vec<u8>,
) {
    let accept = "application/json, text/event-stream";
    post_accepting(request, path, key_header, headers, accept, out);
}

/// Like [`post`], for responses of the media types `accept`.
pub(crate) fn post_accepting(
    request: &OutgoingRequest<'_>,
    path: &str,
    key_header: KeyHeader,
    headers: &[u8],
    accept: &str,
    out: &mut Vec<u8>,
) {
    let target = [request.base_path, path];
    encode::begin_request(out, "POST", &target, request.authority);
    write_auth(request, path, key_header, out);
    out.extend_from_slice(headers);
    // The content type of a passthrough request is among the forwarded headers.
    let is_passed = matches!(request.call, UpstreamOperation::Passthrough(_));
    if !is_passed {
        encode::header(out, "content-type", JSON.as_bytes());
    }
    let accept = if is_passed { "*/*" } else { accept };
    encode::header(out, "accept", accept.as_bytes());
    encode::gateway_headers(out);
    out.extend_from_slice(request.forwarded_headers);
    let length = request.body.len(request.model);
    encode::content_length(out, length as u64);
    encode::end_head(out);
    let body_start = out.len();
    request.body.append(request.model, out);
    debug_assert_eq!(out.len() - body_start, length);
}

/// Appends the body for a target: the model's name is replaced and usage is requested, all other bytes stay.
pub fn write_body(
    body: &[u8],
    model_range: &Range<usize>,
    usage_edit: Option<&Edit>,
    model: &str,
    out: &mut Vec<u8>,
) {
    let mut quoted = Vec::with_capacity(model.len() + 2);
    document::write_string(&mut quoted, model);
    let name = quoted
        .get(1..quoted.len().saturating_sub(1))
        .unwrap_or_default();
    let by_model = (model_range, name);
    match usage_edit {
        // The body does not contain the model's name.
        _ if model_range.is_empty() => out.extend_from_slice(body),
        None => splice::apply(body, [by_model], out),
        Some(edit) => {
            let by_usage = (&edit.range, edit.with.as_slice());
            if edit.range.start < model_range.start {
                splice::apply(body, [by_usage, by_model], out);
            } else {
                splice::apply(body, [by_model, by_usage], out);
            }
        }
    }
}
