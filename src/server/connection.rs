//! One client connection: reads and serves its requests in turn.

use crate::auth::keys::Peer;
use crate::error::code::ErrorCode;
use crate::error::gateway_error::GatewayError;
use crate::http::encode;
use crate::http::framing::{
    BodyLength, BodyReader, expects_continue, request_body, request_keep_alive,
};
use crate::http::head::{Method, Parsed, RequestHead, Version, parse_request_head};
use crate::http::limits::HeadLimits;
use crate::http::reject::Reject;
use crate::runtime::buffer;
use crate::runtime::clock;
use crate::runtime::heap::on_heap;
use crate::runtime::io::SocketError;
use crate::runtime::stream::Stream;
use crate::server::client::Client;
use crate::server::drain::ConnectionGuard;
use crate::server::input::Input;
use crate::server::request_body::{PIECES_FROM_BYTES, Upload};
use std::time::{Duration, Instant};

/// Limits of a connection.
#[derive(Debug, Clone)]
pub struct ConnectionLimits {
    /// Limits of a request head.
    pub head: HeadLimits,
    /// Largest body, in bytes.
    pub body_bytes_max: usize,
    /// Time from the first byte of a head to its end.
    pub head_timeout: Duration,
    /// Time for a body to arrive.
    pub body_timeout: Duration,
    /// Time between requests.
    pub idle_timeout: Duration,
    /// Time that a write may make no progress.
    pub write_timeout: Duration,
}

/// A request.
pub struct Request<'r> {
    /// The head.
    pub head: &'r RequestHead<'r>,
    /// The decoded body; empty if it is read piece by piece ([`Client::upload`]).
    pub body: &'r [u8],
    /// The sender.
    pub peer: Peer,
    /// When the request was received, or the part of it that must be complete before it is served.
    pub received_at: Instant,
}

/// Handles requests.
pub trait Serve {
    /// Handles a request and responds on `client` in every case.
    fn serve(&self, request: &Request<'_>, client: &mut Client) -> impl Future<Output = ()>;

    /// Whether the body of a request with this head is read piece by piece.
    fn wants_pieces(&self, _head: &RequestHead<'_>) -> bool {
        false
    }

    /// Responds to a malformed request; the connection is closed after it.
    fn reject(&self, error: &GatewayError, client: &mut Client) -> impl Future<Output = ()>;
}

/// How long a closing connection is still read, so that the client receives the response: closing with unread bytes
/// resets the connection and can discard the response.
const LINGER: Duration = Duration::from_millis(500);
/// Most bytes that are read while lingering.
const LINGER_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Serves a connection until it ends.
pub async fn run(
    stream: Stream,
    guard: ConnectionGuard,
    peer: Peer,
    limits: &ConnectionLimits,
    service: &impl Serve,
) {
    let server = RequestServer {
        peer,
        limits,
        service,
    };
    let mut client = Client {
        stream,
        guard,
        write_timeout: limits.write_timeout,
        keep_alive: true,
        is_http10: false,
        is_head: false,
        upload: None,
        followers: None,
    };
    let mut input = Input::default();
    loop {
        match server.serve_one(&mut client, &mut input).await {
            Ok(()) if client.keep_alive && !client.guard.has_begun() => {
                client.stream.end_request().await;
            }
            Ok(()) => break,
            Err(ConnectionEnd::Closed) => break,
            Err(ConnectionEnd::Rejected(error)) => {
                client.keep_alive = false;
                service.reject(&error, &mut client).await;
                linger(&mut client).await;
                break;
            }
        }
    }
    input.release();
    client
        .stream
        .close(clock::now() + Duration::from_secs(1))
        .await;
}

/// Why a connection ends without serving a request.
pub(crate) enum ConnectionEnd {
    /// The client closed or was idle too long, or the process stops.
    Closed,
    /// The client sent a malformed request.
    Rejected(GatewayError),
}

/// The values that all requests of a connection share.
struct RequestServer<'s, S> {
    peer: Peer,
    limits: &'s ConnectionLimits,
    service: &'s S,
}

impl<S: Serve> RequestServer<'_, S> {
    /// Reads and serves the next request.
    async fn serve_one(&self, client: &mut Client, input: &mut Input) -> Result<(), ConnectionEnd> {
        input.read_head(client, self.limits).await?;
        let mut arrived = std::mem::take(input);
        let mut body = Vec::new();
        // On the heap: the state of a request is several times as large as an idle connection, which must not reserve
        // space for it.
        let serving = on_heap(|| self.serve_head(client, arrived.unserved(), input, &mut body));
        let outcome = serving.await;
        buffer::give(body);
        arrived.skip(outcome?);
        if !arrived.unserved().is_empty() {
            *input = arrived;
        }
        Ok(())
    }

    /// Serves the request that `arrived` begins with, and returns how many of its bytes were served. If the body is
    /// read, `input` gets the bytes after it.
    async fn serve_head(
        &self,
        client: &mut Client,
        arrived: &[u8],
        input: &mut Input,
        body: &mut Vec<u8>,
    ) -> Result<usize, ConnectionEnd> {
        let limits = self.limits;
        let parsed = parse_request_head(arrived, &limits.head).map_err(|bad| rejected(&bad))?;
        let Parsed::Complete {
            value: head,
            consumed,
        } = parsed
        else {
            return Err(ConnectionEnd::Closed);
        };
        client.is_head = head.method == Method::Head;
        client.is_http10 = head.version == Version::Http10;
        client.keep_alive = request_keep_alive(&head);
        let length = request_body(&head).map_err(|reject| rejected(&reject))?;
        let rest = arrived.get(consumed..).unwrap_or_default();
        if let Some(body) = whole_body(rest, length, limits) {
            // The body arrived with the head, so it is served from the same buffer.
            let request = self.request(&head, body);
            self.service.serve(&request, client).await;
            return Ok(consumed + body.len());
        }
        let waits = expects_continue(&head);
        let mut received = buffer::take(rest.len());
        received.extend_from_slice(rest);
        if let Some(bytes) = in_pieces(length, limits)
            && self.service.wants_pieces(&head)
        {
            let due = clock::recent() + limits.body_timeout;
            client.upload = Some(Upload::new(bytes, received, waits, due));
            *input = self.serve_pieces(client, &head).await;
            return Ok(arrived.len());
        }
        read_body(client, &mut received, body, length, waits, limits).await?;
        *input = Input::new(received);
        let request = self.request(&head, body);
        self.service.serve(&request, client).await;
        Ok(arrived.len())
    }

    /// Serves a request whose body is still arriving, and returns the bytes after it.
    async fn serve_pieces(&self, client: &mut Client, head: &RequestHead<'_>) -> Input {
        let request = self.request(head, &[]);
        self.service.serve(&request, client).await;
        match client.upload.take() {
            Some(upload) if upload.is_done() => Input::new(upload.into_rest()),
            _ => {
                client.keep_alive = false;
                linger(client).await;
                Input::default()
            }
        }
    }

    fn request<'r>(&self, head: &'r RequestHead<'r>, body: &'r [u8]) -> Request<'r> {
        Request {
            head,
            body,
            peer: self.peer,
            received_at: clock::recent(),
        }
    }
}

/// The length of a body that may be read piece by piece. A body of unknown length is buffered, because many servers
/// require the length.
fn in_pieces(length: BodyLength, limits: &ConnectionLimits) -> Option<u64> {
    match length {
        BodyLength::Exact(bytes) => {
            let fits = usize::try_from(bytes).is_ok_and(|bytes| bytes <= limits.body_bytes_max);
            (fits && bytes >= PIECES_FROM_BYTES).then_some(bytes)
        }
        _ => None,
    }
}

/// The body, if `rest` begins with the whole body without coding.
fn whole_body<'b>(
    rest: &'b [u8],
    length: BodyLength,
    limits: &ConnectionLimits,
) -> Option<&'b [u8]> {
    let bytes = match length {
        BodyLength::None => 0,
        BodyLength::Exact(bytes) => usize::try_from(bytes).ok()?,
        _ => return None,
    };
    if bytes > limits.body_bytes_max {
        return None;
    }
    rest.get(..bytes)
}

async fn read_body(
    client: &mut Client,
    input: &mut Vec<u8>,
    body: &mut Vec<u8>,
    length: BodyLength,
    waits_for_continue: bool,
    limits: &ConnectionLimits,
) -> Result<(), ConnectionEnd> {
    let too_large = || {
        ConnectionEnd::Rejected(GatewayError::new(
            ErrorCode::BodyTooLarge,
            format!(
                "the request body is larger than {} bytes (server.body_max)",
                limits.body_bytes_max
            ),
        ))
    };
    if let BodyLength::Exact(bytes) = length {
        let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
        if bytes > limits.body_bytes_max {
            return Err(too_large());
        }
        *body = buffer::take(bytes.min(buffer::CLASS_BYTES[buffer::CLASS_BYTES.len() - 1]));
    }
    if waits_for_continue && input.is_empty() {
        let (written, _) = client.write(encode::CONTINUE.to_vec()).await;
        written.map_err(|_| ConnectionEnd::Closed)?;
    }
    let mut reader = BodyReader::new(length);
    let by = clock::recent() + limits.body_timeout;
    loop {
        let consumed = reader.read(input, body).map_err(|bad| {
            ConnectionEnd::Rejected(GatewayError::new(
                ErrorCode::InvalidBodyFraming,
                bad.to_string(),
            ))
        })?;
        if consumed == input.len() {
            input.clear();
        } else {
            input.drain(..consumed);
        }
        if body.len() > limits.body_bytes_max {
            return Err(too_large());
        }
        if reader.is_done() {
            return Ok(());
        }
        match client.stream.fill(input, by).await {
            Ok(count) if count > 0 => {}
            Err(SocketError::Deadline) => {
                return Err(ConnectionEnd::Rejected(GatewayError::new(
                    ErrorCode::RequestTimeout,
                    format!(
                        "the request body did not arrive within {:?} (server.body_timeout)",
                        limits.body_timeout
                    ),
                )));
            }
            _ => return Err(ConnectionEnd::Closed),
        }
    }
}

pub(crate) fn rejected(reject: &Reject) -> ConnectionEnd {
    let code = match reject {
        Reject::HeadTooLarge { .. } | Reject::TooManyHeaders { .. } => ErrorCode::HeadTooLarge,
        Reject::VersionNotSupported => ErrorCode::HttpVersionNotSupported,
        Reject::MethodNotAllowed => ErrorCode::MethodNotAllowed,
        Reject::TransferEncodingNotSupported => ErrorCode::TransferEncodingNotSupported,
        Reject::ExpectationNotSupported => ErrorCode::ExpectationNotSupported,
        _ => ErrorCode::MalformedRequest,
    };
    debug_assert_eq!(code.status(), reject.status());
    ConnectionEnd::Rejected(GatewayError::new(code, reject.to_string()))
}

async fn linger(client: &mut Client) {
    let by = clock::now() + LINGER;
    client.stream.finish_writing().await;
    let mut read = 0;
    let mut waste = Vec::new();
    while read < LINGER_BYTES_MAX {
        match client.stream.fill(&mut waste, by).await {
            Ok(count) if count > 0 => {
                read += count;
                waste.clear();
            }
            _ => return,
        }
    }
}
