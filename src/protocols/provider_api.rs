//! The dialect of each vendor, as pure translation. A provider is one file or folder here and one line
//! in [`PROVIDERS`].
//!
//! No sockets, no clock, no randomness: bytes in, bytes out. A request in the provider's own dialect
//! crosses byte for byte; one in another dialect comes in the neutral form.

use crate::error::class::Retry;
use crate::error::gateway_error::GatewayError;
use crate::http::encode;
use crate::http::sse::{EventTooLong, event_data};
use crate::protocols::anthropic::provider::vertex;
use crate::protocols::json::document;
use crate::protocols::json::document::{Document, Scratch};
use crate::protocols::json::splice::Edit;
use crate::protocols::neutral::event::Event;
use crate::protocols::neutral::request::Request;
use crate::protocols::neutral::response::{Failure, Response};
use crate::protocols::neutral::unsupported_fields::UnsupportedFields;
use crate::protocols::request::chat_request;
use crate::signing::auth::{Auth, BEARER, KeyHeader};
use crate::signing::sigv4::ToSign;
use std::borrow::Cow;
use std::ops::Range;
use std::time::Duration;

/// What is asked of a provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UpstreamOperation {
    /// A chat completion.
    Chat,
    /// Embeddings.
    Embeddings,
    /// How many tokens a request has.
    CountTokens,
    /// Documents in the order of a query.
    Rerank,
    /// An endpoint that is passed on, of this path.
    Passthrough(&'static str),
}

/// A request to encode.
pub struct OutgoingRequest<'r> {
    /// What is asked.
    pub call: UpstreamOperation,
    /// A stream was asked for.
    pub streams: bool,
    /// The body.
    pub body: Body<'r>,
    /// Model name at the provider.
    pub model: &'r str,
    /// Path prefix of the base URL.
    pub base_path: &'r str,
    /// Version of the API that the path names, where the dialect has one.
    pub api_version: Option<&'r str>,
    /// Value of the `host` header.
    pub authority: &'r str,
    /// What proves who sends it.
    pub auth: Auth<'r>,
    /// Encoded header lines of the client that may cross (see `journey`).
    pub forwarded_headers: &'r [u8],
}

/// A request's body.
pub enum Body<'r> {
    /// As the client sent it, but for two places.
    Spliced {
        /// The client's bytes.
        bytes: &'r [u8],
        /// Where the model's name stands in them; empty if it does not.
        model_range: &'r Range<usize>,
        /// The edit that asks for usage in a stream.
        usage_edit: Option<&'r Edit>,
    },
    /// Written for this provider.
    Written(&'r [u8]),
}

impl Body<'_> {
    /// Length under the name `model`, in bytes.
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

    /// Appends it under the name `model`.
    pub fn append(&self, model: &str, out: &mut Vec<u8>) {
        match self {
            Self::Written(bytes) => out.extend_from_slice(bytes),
            Self::Spliced {
                bytes,
                model_range,
                usage_edit,
            } => chat_request::write_body(bytes, model_range, *usage_edit, model, out),
        }
    }
}

/// What a status from the provider means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StatusClass {
    /// Outcome in metrics.
    pub outcome: &'static str,
    /// Whether another attempt may help.
    pub retry: Retry,
}

/// What the body of a refusal says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RefusalDetail {
    /// The status that it means.
    pub status: u16,
    /// How long to wait, where no header says so.
    pub wait: Option<Duration>,
}

/// Why an answer of a provider could not be read; for the operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnreadableBody(pub &'static str);

/// A vendor's dialect.
pub trait ProviderApi: Sync {
    /// Name in the configuration's `dialect`.
    fn name(&self) -> &'static str;

    /// The client dialect whose chats it takes as they are (a name from `api::face`).
    fn native(&self) -> &'static str;

    /// Whether it has this operation, in the native dialect for all but chats.
    fn takes(&self, call: UpstreamOperation) -> bool;

    /// The header in which it carries API keys.
    fn key_header(&self) -> KeyHeader {
        BEARER
    }

    /// Path of an endpoint of its native dialect's API behind `base_path`.
    fn path(
        &self,
        _base_path: &str,
        endpoint: &str,
        _model: Option<&str>,
        _api_version: Option<&str>,
    ) -> String {
        endpoint.to_owned()
    }

    /// Appends a whole HTTP/1.1 request, head and body, to `out`.
    fn encode(&self, request: &OutgoingRequest<'_>, out: &mut Vec<u8>);

    /// Appends the body of a chat request for the model that the provider calls `model`.
    ///
    /// # Errors
    /// 400 naming a field that is lost.
    fn write_request(
        &self,
        request: &Request<'_>,
        model: &str,
        unsupported: &mut UnsupportedFields,
        out: &mut Vec<u8>,
    ) -> Result<(), GatewayError>;

    /// Reads a whole answer.
    ///
    /// # Errors
    /// What it lacks.
    fn read_answer<'d>(&self, document: &Document<'d>) -> Result<Response<'d>, UnreadableBody>;

    /// Reads an error body.
    fn read_failure<'d>(&self, status: u16, document: &Document<'d>) -> Failure<'d>;

    /// What reads the events of one stream.
    fn decoder(&self) -> Box<dyn Decoder>;

    /// Bytes without which the beginning of a stream tells of no failure. Raw quotes cannot stand inside
    /// a JSON string, so this is a key.
    fn failure_mark(&self) -> &'static [u8] {
        b"\"error\""
    }

    /// What `status` means.
    fn judge(&self, status: u16) -> StatusClass {
        judge_by_class(status)
    }

    /// What the body of an answer with `status`, which is an error's, says beyond it.
    fn refused(&self, status: u16, _body: &[u8]) -> RefusalDetail {
        RefusalDetail { status, wait: None }
    }
}

/// Where events go as they are read.
pub type Sink<'s> = &'s mut dyn FnMut(&Event<'_>);

/// Reads one stream.
pub trait Decoder {
    /// Length of the first complete frame of `buffer`, which only grows until that is taken away.
    ///
    /// # Errors
    /// A frame exceeds its limit.
    fn next_frame(&mut self, buffer: &[u8]) -> Result<Option<usize>, EventTooLong>;

    /// Reads one frame.
    fn frame(&mut self, frame: &[u8], scratch: &mut Scratch, sink: Sink<'_>);

    /// The provider's body ended: says [`Event::End`] if the answer was complete and that was not said.
    fn end(&mut self, sink: Sink<'_>);
}

/// Every dialect there is.
pub static PROVIDERS: &[&dyn ProviderApi] = &[
    &crate::protocols::openai::provider::api::OpenAi,
    &crate::protocols::anthropic::provider::api::Anthropic,
    &crate::protocols::azure::provider::Azure,
    &crate::protocols::bedrock::provider::api::Bedrock,
    &crate::protocols::responses::provider::api::Responses,
    &crate::protocols::cohere::provider::api::Cohere,
    &crate::protocols::gemini::provider::api::AI_STUDIO,
    &crate::protocols::gemini::provider::api::VERTEX,
    &vertex::Vertex,
];

/// The dialect called `name`.
#[must_use]
pub fn provider(name: &str) -> Option<&'static dyn ProviderApi> {
    PROVIDERS
        .iter()
        .copied()
        .find(|provider| provider.name() == name)
}

/// A dialect that takes chats as the client dialect `face` says them.
#[must_use]
pub fn native_api(client_api: &str) -> Option<&'static dyn ProviderApi> {
    PROVIDERS
        .iter()
        .copied()
        .find(|provider| provider.native() == client_api)
}

/// Content type of what a dialect writes itself.
const JSON: &str = "application/json";

/// The headers that prove who sends. What a signature covers is put together first, and aside.
fn write_auth(request: &OutgoingRequest<'_>, path: &str, key_header: KeyHeader, out: &mut Vec<u8>) {
    let (mut whole_path, mut body) = (String::new(), Vec::new());
    if request.auth.signs() {
        whole_path = [request.base_path, path].concat();
        request.body.append(request.model, &mut body);
    }
    let (path, query) = whole_path.split_once('?').unwrap_or((&whole_path, ""));
    let kind = match request.call {
        // A form, say: the line that crosses.
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

/// Verdicts by the class of a status.
pub(crate) fn judge_by_class(status: u16) -> StatusClass {
    let (outcome, retry) = match status {
        200..=299 => ("ok", Retry::Never),
        408 => ("timeout", Retry::OnNextTarget),
        429 => ("rate_limited", Retry::OnNextTarget),
        500..=599 => ("server_error", Retry::OnNextTarget),
        // Our key is at fault, not the request.
        401 | 403 => ("unauthorized", Retry::OnNextTarget),
        _ => ("client_error", Retry::Never),
    };
    StatusClass { outcome, retry }
}

/// Appends a POST with a JSON body. `key_header` carries an API key, `headers` are encoded lines of the
/// provider's own. Nothing that frames a message crosses the gateway: this head is built from nothing.
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

/// The same, for an answer of the types `accept`.
pub(crate) fn post_accepting(
    request: &OutgoingRequest<'_>,
    path: &str,
    key_header: KeyHeader,
    headers: &[u8],
    accept: &str,
    out: &mut Vec<u8>,
) {
    out.extend_from_slice(b"POST ");
    out.extend_from_slice(request.base_path.as_bytes());
    out.extend_from_slice(path.as_bytes());
    out.extend_from_slice(b" HTTP/1.1\r\n");
    encode::header(out, "host", request.authority.as_bytes());
    write_auth(request, path, key_header, out);
    out.extend_from_slice(headers);
    // The content type of what is passed on is among the headers that cross.
    let is_passed = matches!(request.call, UpstreamOperation::Passthrough(_));
    if !is_passed {
        encode::header(out, "content-type", JSON.as_bytes());
    }
    let accept = if is_passed { "*/*" } else { accept };
    encode::header(out, "accept", accept.as_bytes());
    out.extend_from_slice(b"accept-encoding: identity\r\nuser-agent: ringside/");
    out.extend_from_slice(env!("CARGO_PKG_VERSION").as_bytes());
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(request.forwarded_headers);
    let length = request.body.len(request.model);
    encode::content_length(out, length as u64);
    encode::end_head(out);
    let body_start = out.len();
    request.body.append(request.model, out);
    debug_assert_eq!(out.len() - body_start, length);
}

/// The data of an event in one line: what was split over several is joined by blanks, for line ends
/// stand in JSON only where blanks may, and what is passed on raw must not end a line.
pub(crate) fn event_json(frame: &[u8]) -> Option<Cow<'_, [u8]>> {
    let mut data = event_data(frame)?;
    if memchr::memchr(b'\n', &data).is_some() {
        for byte in data.to_mut() {
            if *byte == b'\n' {
                *byte = b' ';
            }
        }
    }
    Some(data)
}

/// The failure of a stream whose event cannot be read.
pub(crate) fn not_json() -> Failure<'static> {
    Failure {
        status: 502,
        message: "the provider sent an event that is not JSON".into(),
        kind: None,
        param: None,
        window_exceeded: false,
    }
}

/// A message found in an error body of whatever shape: `error.message`, `error`, `message`, `detail`.
pub(crate) fn message_of<'d>(document: &Document<'d>) -> Cow<'d, str> {
    let error = document.field(0, "error");
    let text = error
        .and_then(|at| {
            let inner = document.text_of(at, "message");
            inner.or_else(|| document.text(at))
        })
        .or_else(|| document.text_of(0, "message"))
        .or_else(|| document.text_of(0, "detail"));
    match text.or_else(|| document.raw_of(0, "detail")) {
        Some(text) => Cow::Borrowed(text),
        None => Cow::Borrowed("the provider gave no reason"),
    }
}
