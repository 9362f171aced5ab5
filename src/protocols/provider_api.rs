//! The trait of a provider API: it writes requests and reads responses, streams and errors.
//!
//! Pure: bytes in, bytes out, without sockets, clock or randomness. A request that already has the provider's wire
//! format is forwarded byte for byte; any other request is written from the neutral form.

use crate::error::gateway_error::GatewayError;
use crate::http::sse::{EventTooLong, event_data};
use crate::protocols::json::document::{Document, Scratch};
use crate::protocols::neutral::event::Event;
use crate::protocols::neutral::request::Request;
use crate::protocols::neutral::response::{ProviderError, Response};
use crate::protocols::neutral::unsupported_fields::UnsupportedFields;
use crate::protocols::outgoing_request::{OutgoingRequest, UpstreamOperation};
use crate::protocols::status_class::StatusClass;
use crate::signing::auth::{BEARER, KeyHeader};
use std::borrow::Cow;
use std::time::Duration;

/// What the body of an error response adds to its status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ErrorDetail {
    /// The status that describes the error; some providers send another one.
    pub status: u16,
    /// How long to wait before the next attempt; used if no header says so.
    pub retry_after: Option<Duration>,
}

/// Why a provider's response could not be read, in words for the operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnreadableBody(pub &'static str);

/// The API of a provider.
pub trait ProviderApi: Sync {
    /// Name in the configuration's `dialect`.
    fn name(&self) -> &'static str;

    /// The name of the client API that has the same wire format.
    fn native_client_api(&self) -> &'static str;

    /// Whether the API has this operation. Only chats are translated; other requests must have its wire format.
    fn supports(&self, operation: UpstreamOperation) -> bool;

    /// The header that carries the API key.
    fn key_header(&self) -> KeyHeader {
        BEARER
    }

    /// The path of an endpoint, relative to `base_path`. `endpoint` is its path in the native client API.
    fn path(
        &self,
        _base_path: &str,
        endpoint: &str,
        _model: Option<&str>,
        _api_version: Option<&str>,
    ) -> String {
        endpoint.to_owned()
    }

    /// Appends an HTTP/1.1 request, head and body, to `out`.
    fn encode(&self, request: &OutgoingRequest<'_>, out: &mut Vec<u8>);

    /// Appends the body of a chat request for the model that the provider calls `model`.
    ///
    /// # Errors
    /// 400 that names a field that is not supported.
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
    /// The response lacks a field that the neutral form needs.
    fn read_response<'d>(&self, document: &Document<'d>) -> Result<Response<'d>, UnreadableBody>;

    /// Reads an error body.
    fn read_error<'d>(&self, status: u16, document: &Document<'d>) -> ProviderError<'d>;

    /// A decoder for one stream.
    fn decoder(&self) -> Box<dyn Decoder>;

    /// Bytes that every error event contains, so the start of a stream without them is not an error. JSON escapes
    /// quotes inside strings, so the bytes can only match a key.
    fn error_event_marker(&self) -> &'static [u8] {
        b"\"error\""
    }

    /// How the gateway treats `status`.
    fn classify_status(&self, status: u16) -> StatusClass {
        StatusClass::of(status)
    }

    /// What the body of an error response adds to its `status`.
    fn read_error_detail(&self, status: u16, _body: &[u8]) -> ErrorDetail {
        ErrorDetail {
            status,
            retry_after: None,
        }
    }
}

/// Receives the events of a stream in order.
pub type Sink<'s> = &'s mut dyn FnMut(&Event<'_>);

/// Reads one stream.
pub trait Decoder {
    /// Length of the first complete frame in `buffer`. The caller may append to the buffer between calls, and removes
    /// a frame once it is complete.
    ///
    /// # Errors
    /// A frame exceeds its limit.
    fn next_frame(&mut self, buffer: &[u8]) -> Result<Option<usize>, EventTooLong>;

    /// Reads one frame.
    fn frame(&mut self, frame: &[u8], scratch: &mut Scratch, sink: Sink<'_>);

    /// Called at the end of the provider's body. Emits [`Event::End`] if the response is complete and the event was
    /// not emitted yet.
    fn end(&mut self, sink: Sink<'_>);
}

/// The JSON of an event in one line. Line ends become blanks: JSON allows them only where it allows blanks, and a
/// raw value that is copied into another event must not contain a line end.
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

/// The error of a stream with an event that cannot be read.
pub(crate) fn not_json() -> ProviderError<'static> {
    ProviderError {
        status: 502,
        message: "the provider sent an event that is not JSON".into(),
        kind: None,
        param: None,
        window_exceeded: false,
    }
}

/// The message of an error body in any of the usual shapes: `error.message`, `error`, `message`, `detail`.
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
