//! What a provider's API must implement: writing requests, and reading responses, streams and errors.
//!
//! No sockets, no clock, no randomness: bytes in, bytes out. A request in the provider's own wire format
//! is forwarded byte for byte; any other is translated from the neutral form.

use crate::error::class::Retry;
use crate::error::gateway_error::GatewayError;
use crate::protocols::outgoing_request::OutgoingRequest;
use crate::protocols::outgoing_request::UpstreamOperation;

use crate::http::sse::{EventTooLong, event_data};

use crate::protocols::json::document::{Document, Scratch};

use crate::protocols::neutral::event::Event;
use crate::protocols::neutral::request::Request;
use crate::protocols::neutral::response::{Failure, Response};
use crate::protocols::neutral::unsupported_fields::UnsupportedFields;

use crate::signing::auth::{BEARER, KeyHeader};

use std::borrow::Cow;

use std::time::Duration;

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

/// Why a response of a provider could not be read; for the operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnreadableBody(pub &'static str);

/// The API of a provider.
pub trait ProviderApi: Sync {
    /// Name in the configuration's `dialect`.
    fn name(&self) -> &'static str;

    /// The name of the client API that has the same wire format.
    fn native(&self) -> &'static str;

    /// Whether the API has this operation; all but chats must be in its own wire format.
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
    /// 400 naming a field that is not supported.
    fn write_request(
        &self,
        request: &Request<'_>,
        model: &str,
        unsupported: &mut UnsupportedFields,
        out: &mut Vec<u8>,
    ) -> Result<(), GatewayError>;

    /// Reads a whole response.
    ///
    /// # Errors
    /// What it lacks.
    fn read_answer<'d>(&self, document: &Document<'d>) -> Result<Response<'d>, UnreadableBody>;

    /// Reads an error body.
    fn read_failure<'d>(&self, status: u16, document: &Document<'d>) -> Failure<'d>;

    /// What reads the events of one stream.
    fn decoder(&self) -> Box<dyn Decoder>;

    /// Bytes without which the beginning of a stream reports no error. Raw quotes cannot stand inside a JSON
    /// string, so this is a key.
    fn failure_mark(&self) -> &'static [u8] {
        b"\"error\""
    }

    /// What `status` means.
    fn judge(&self, status: u16) -> StatusClass {
        judge_by_class(status)
    }

    /// What the body of an error response means beyond its `status`.
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

/// The data of an event in one line: what was split over several is joined by blanks, for line ends
/// stand in JSON only where blanks may, and raw values must not end a line of an event.
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
