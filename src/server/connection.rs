//! One client connection: reads and serves its requests in turn.

use crate::auth::keys::Peer;
use crate::error::gateway_error::GatewayError;
use crate::http::framing::{expects_continue, request_body, request_keep_alive};
use crate::http::head::{Method, Parsed, RequestHead, Version, parse_request_head};
use crate::runtime::buffer;
use crate::runtime::clock;
use crate::runtime::heap::on_heap;
use crate::runtime::stream::Stream;
use crate::server::body::{ArrivingBody, UNCOUNTED_BYTES_MAX, in_pieces, whole_body};
use crate::server::body_memory::BodyReservation;
use crate::server::client::Client;
use crate::server::connection_end::{ConnectionEnd, rejected};
use crate::server::connection_limits::ConnectionLimits;
use crate::server::drain::ConnectionGuard;
use crate::server::input::Input;
use crate::server::request_body::Upload;
use std::time::{Duration, Instant};

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

/// What the service says of a request whose body has not been read yet.
#[derive(Default)]
pub struct Admission {
    /// Counts the memory of the body; `None` if it is not counted.
    pub reservation: Option<BodyReservation>,
    /// Whether the body may be read piece by piece.
    pub in_pieces: bool,
}

/// Handles requests.
pub trait Serve {
    /// Judges a request by its head, before its body takes memory.
    ///
    /// # Errors
    /// The response to a request that would be refused whatever its body is.
    fn admit(&self, _request: &Request<'_>) -> Result<Admission, GatewayError> {
        Ok(Admission::default())
    }

    /// Handles a request and responds on `client` in every case.
    fn serve(&self, request: &Request<'_>, client: &mut Client) -> impl Future<Output = ()>;

    /// Responds to a request whose body is not read; the connection is closed after it.
    fn refuse(
        &self,
        _request: &Request<'_>,
        error: &GatewayError,
        client: &mut Client,
    ) -> impl Future<Output = ()> {
        self.reject(error, client)
    }

    /// Responds to a malformed request; the connection is closed after it.
    fn reject(&self, error: &GatewayError, client: &mut Client) -> impl Future<Output = ()>;
}

/// How long a closing connection is still read, so that the client receives the response: closing with unread bytes
/// resets the connection and can discard the response.
const LINGER: Duration = Duration::from_millis(500);
/// Most bytes that are read, and dropped, while lingering: a client that sends a whole body before it reads gets the
/// response too.
const LINGER_BYTES_MAX: usize = 64 * 1024 * 1024;

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
        body_reservation: None,
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
            Err(ConnectionEnd::Refused) => {
                linger(&mut client).await;
                break;
            }
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
        client.body_reservation = None;
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
            if body.len() > UNCOUNTED_BYTES_MAX
                && let Err(error) = self.reserve(client, &request)
            {
                return self.refuse(client, &request, error).await;
            }
            self.service.serve(&request, client).await;
            return Ok(consumed + body.len());
        }
        let arriving = ArrivingBody {
            length,
            waits_for_continue: expects_continue(&head),
            limits,
        };
        let unread = self.request(&head, &[]);
        let pieces = match self.admit_unread(client, &unread, &arriving) {
            Ok(pieces) => pieces,
            Err(error) => return self.refuse(client, &unread, error).await,
        };
        let mut received = buffer::take(rest.len());
        received.extend_from_slice(rest);
        if let Some(bytes) = pieces {
            let due = clock::recent() + limits.body_timeout;
            let waits = arriving.waits_for_continue;
            client.upload = Some(Upload::new(bytes, received, waits, due));
            *input = self.serve_pieces(client, &unread).await;
            return Ok(arrived.len());
        }
        match arriving.read(client, &mut received, body).await {
            Ok(()) => {}
            Err(ConnectionEnd::Rejected(error)) => {
                return self.refuse(client, &unread, error).await;
            }
            Err(end) => return Err(end),
        }
        *input = Input::new(received);
        let request = self.request(&head, body);
        self.service.serve(&request, client).await;
        Ok(arrived.len())
    }

    /// Counts a body that has arrived.
    fn reserve(&self, client: &mut Client, request: &Request<'_>) -> Result<(), GatewayError> {
        let mut reservation = self.service.admit(request)?.reservation;
        if let Some(reservation) = &mut reservation {
            reservation.grow_to(request.body.len())?;
        }
        client.body_reservation = reservation;
        Ok(())
    }

    /// Judges a request before its body is read. Returns the length of a body that is read piece by piece.
    fn admit_unread(
        &self,
        client: &mut Client,
        request: &Request<'_>,
        arriving: &ArrivingBody<'_>,
    ) -> Result<Option<u64>, GatewayError> {
        let admission = self.service.admit(request)?;
        let pieces = in_pieces(arriving.length, self.limits).filter(|_| admission.in_pieces);
        if pieces.is_none() {
            arriving.check(admission.reservation.as_ref())?;
        }
        client.body_reservation = admission.reservation;
        Ok(pieces)
    }

    async fn refuse(
        &self,
        client: &mut Client,
        request: &Request<'_>,
        error: GatewayError,
    ) -> Result<usize, ConnectionEnd> {
        client.keep_alive = false;
        self.service.refuse(request, &error, client).await;
        Err(ConnectionEnd::Refused)
    }

    /// Serves a request whose body is still arriving, and returns the bytes after it.
    async fn serve_pieces(&self, client: &mut Client, request: &Request<'_>) -> Input {
        self.service.serve(request, client).await;
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

async fn linger(client: &mut Client) {
    let by = clock::now() + LINGER;
    client.stream.finish_writing().await;
    client.stream.discard(LINGER_BYTES_MAX, by).await;
}
