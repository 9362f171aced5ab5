//! One request to a provider: sends it, reads the head of the response, then the body piece by piece. It must not
//! know protocols.

use crate::error::class::Retry;
use crate::http::framing::{BodyLength, BodyReader, response_body, response_keep_alive};
use crate::http::head::{Method, Parsed, ResponseHead, head_end, parse_response_head};
use crate::http::limits::HeadLimits;
use crate::runtime::buffer;
use crate::runtime::clock;
use crate::runtime::descriptors;
use crate::runtime::descriptors::DESCRIPTORS_RESERVED;
use crate::runtime::heap::on_heap;
use crate::runtime::io::{Interrupt, Interruption, SocketError, before, connect};
use crate::runtime::source::BodyProgress;
use crate::runtime::stream::{HandshakeError, Stream};
use crate::runtime::tls::Session;
use crate::upstream::endpoint::Endpoint;
use crate::upstream::pool::ConnectionPool;
use std::cell::RefCell;
use std::future::poll_fn;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

/// Why an upstream attempt failed before its response could be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum UpstreamError {
    /// The host name has no address.
    NoAddress(String),
    /// There are no valid credentials for the provider.
    NoCredentials(String),
    /// The connection could not be made.
    Connect(String),
    /// The TLS handshake failed, or the certificate is not trusted.
    Tls(String),
    /// The first byte did not arrive in time.
    FirstByte,
    /// The connection was closed before the first byte of a response.
    Died {
        /// Whether the connection had been used before: the provider may have closed it as idle.
        reused: bool,
    },
    /// The received bytes are not an HTTP response.
    Malformed(String),
    /// The client or a stop interrupted the wait.
    Interrupted(Interruption),
}

impl UpstreamError {
    /// What the gateway may try next.
    #[must_use]
    pub(crate) fn retry(&self) -> Retry {
        match self {
            Self::Died { reused: true } => Retry::OnFreshConnection,
            Self::Interrupted(_) => Retry::Never,
            _ => Retry::OnNextTarget,
        }
    }
}

impl std::fmt::Display for UpstreamError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NoAddress(why) => write!(f, "name not resolved ({why})"),
            Self::NoCredentials(why) => write!(f, "no credentials ({why})"),
            Self::Connect(why) => write!(f, "connect failed ({why})"),
            Self::Tls(why) => write!(f, "TLS failed ({why})"),
            Self::FirstByte => f.write_str("no first byte in time"),
            Self::Died { .. } => f.write_str("connection closed before the response"),
            Self::Malformed(why) => write!(f, "not an HTTP response ({why})"),
            Self::Interrupted(_) => f.write_str("interrupted"),
        }
    }
}

/// A response whose head has arrived; `H` is what the caller read from the head.
pub(crate) struct UpstreamResponse<H> {
    pub status: u16,
    /// What `read_head` returned.
    pub head: H,
    pub first_byte_at: Instant,
    stream: Stream,
    received: Vec<u8>,
    body: BodyReader,
    keep_alive: bool,
}

/// Why a body could not be read completely.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum UpstreamBodyError {
    /// The body was interrupted or is malformed.
    Broken(String),
    /// Nothing arrived in time; bytes that arrive later can still be read.
    Stalled,
    /// The client or a stop interrupted the wait.
    Interrupted(Interruption),
}

impl UpstreamBodyError {
    /// The reason, for the operator.
    #[must_use]
    pub(crate) fn why(&self) -> &str {
        match self {
            Self::Broken(why) => why,
            Self::Stalled => "deadline passed",
            Self::Interrupted(_) => "interrupted",
        }
    }
}

/// The connection of an attempt.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct ConnectionUse {
    /// Whether a pooled connection was used.
    pub reused: bool,
    /// The time to connect, including the TLS handshake; `None` if no connection was made.
    pub connect: Option<Duration>,
}

/// Sends `request` (head and body) and waits for the head of the response. An idle connection of `pool` is used if
/// there is one; without a pool the connection is new. The request's buffer is returned for a retry. The exchange
/// ends at `until`, whatever the endpoint's own timeouts. `read_head` returns the values that the caller needs from
/// the head.
///
/// # Errors
/// [`UpstreamError`]; no byte of a response was used.
pub(crate) async fn exchange<H>(
    endpoint: &Endpoint,
    pool: Option<&RefCell<ConnectionPool>>,
    request: Vec<u8>,
    until: Instant,
    client: &mut impl Interrupt,
    read_head: impl Fn(&ResponseHead<'_>) -> H,
) -> (
    Result<UpstreamResponse<H>, UpstreamError>,
    Vec<u8>,
    ConnectionUse,
) {
    let pooled = pool.and_then(|pool| pool.borrow_mut().take(endpoint, clock::recent()));
    let mut used = ConnectionUse {
        reused: pooled.is_some(),
        connect: None,
    };
    let began_at = clock::recent();
    let stream = match pooled {
        Some(stream) => stream,
        // On the heap: connecting is rare, and its state is larger than the rest of an exchange.
        None => match on_heap(|| dial(endpoint, until, client)).await {
            Ok(stream) => {
                used.connect = Some(clock::now().saturating_duration_since(began_at));
                stream
            }
            Err(error) => return (Err(error), request, used),
        },
    };
    let mut stream = stream;
    let by = until.min(clock::recent() + endpoint.timeouts.first_byte);
    let (sent, request) = stream.write_all_unless(request, by, client).await;
    if let Err(error) = sent {
        let error = match error {
            SocketError::Deadline => UpstreamError::FirstByte,
            SocketError::Interrupted(why) => UpstreamError::Interrupted(why),
            _ => UpstreamError::Died {
                reused: used.reused,
            },
        };
        return (Err(error), request, used);
    }
    let upstream_response =
        receive_head(stream, Vec::new(), by, used.reused, client, read_head).await;
    (upstream_response, request, used)
}

pub(crate) async fn dial(
    endpoint: &Endpoint,
    until: Instant,
    client: &mut impl Interrupt,
) -> Result<Stream, UpstreamError> {
    let address = endpoint
        .addresses()
        .pick()
        .map_err(UpstreamError::NoAddress)?;
    if !descriptors::has_one_for_upstream() {
        return Err(UpstreamError::Connect(format!(
            "{address}: too many open files: the last {DESCRIPTORS_RESERVED} (DESCRIPTORS_RESERVED) are not for providers"
        )));
    }
    let by = until.min(clock::now() + endpoint.timeouts.connect);
    let socket = unless_interrupted(client, connect(address, by))
        .await?
        .map_err(|error| {
            // The name may have moved to another address.
            endpoint.addresses().request_look_up();
            UpstreamError::Connect(format!("{address}: {error}"))
        })?;
    let Some(settings) = &endpoint.tls else {
        return Ok(Stream::plain(socket));
    };
    let session = Session::client(settings, &endpoint.url.host)
        .map_err(|_| UpstreamError::Tls("the host is not a valid TLS name".into()))?;
    let by = until.min(clock::now() + endpoint.timeouts.tls);
    Stream::handshake_unless(socket, session, by, client)
        .await
        .map_err(|error| match error {
            HandshakeError::Socket(SocketError::Interrupted(why)) => {
                UpstreamError::Interrupted(why)
            }
            error => {
                endpoint.addresses().request_look_up();
                UpstreamError::Tls(format!("{address}: {error}"))
            }
        })
}

/// Runs `operation`, which must be safe to drop, unless it is interrupted first.
async fn unless_interrupted<F: Future>(
    client: &mut impl Interrupt,
    operation: F,
) -> Result<F::Output, UpstreamError> {
    let mut operation = std::pin::pin!(operation);
    poll_fn(|cx| {
        if let Poll::Ready(output) = operation.as_mut().poll(cx) {
            return Poll::Ready(Ok(output));
        }
        client
            .poll_interrupt(cx)
            .map(|why| Err(UpstreamError::Interrupted(why)))
    })
    .await
}

/// Waits for the head of the response; `received` holds the bytes so far.
pub(crate) async fn receive_head<H>(
    mut stream: Stream,
    mut received: Vec<u8>,
    by: Instant,
    reused: bool,
    client: &mut impl Interrupt,
    read_head: impl Fn(&ResponseHead<'_>) -> H,
) -> Result<UpstreamResponse<H>, UpstreamError> {
    let limits = HeadLimits::default();
    let mut scanned = 0;
    let mut first_byte_at = None;
    let mut is_there = !received.is_empty();
    loop {
        let count = match std::mem::take(&mut is_there) {
            true => Ok(received.len()),
            false => fill_or_interrupted(&mut stream, &mut received, by, client).await,
        };
        let count = count.map_err(|error| match error {
            ReadError::Interrupted(why) => UpstreamError::Interrupted(why),
            ReadError::Io(SocketError::Deadline) if first_byte_at.is_none() => {
                UpstreamError::FirstByte
            }
            ReadError::Io(_) if first_byte_at.is_none() => UpstreamError::Died { reused },
            ReadError::Io(error) => UpstreamError::Malformed(format!("head cut off: {error}")),
        })?;
        if count == 0 {
            return Err(match first_byte_at {
                None => UpstreamError::Died { reused },
                Some(_) => UpstreamError::Malformed("head cut off".into()),
            });
        }
        let first_byte_at = *first_byte_at.get_or_insert_with(clock::now);
        let mut skipped = 0; // Removed at once, because there may be thousands of interim responses.
        while let Some(unread) = received.get(skipped..)
            && head_end(unread, scanned).is_some()
        {
            let Some(framing) = framing(unread, &limits, &read_head)? else {
                break;
            };
            if framing.is_interim {
                // The final response follows.
                skipped += framing.consumed;
                scanned = 0;
                continue;
            }
            // A server that closes an idle connection may send 408 first, which is not a response to this request.
            if reused && framing.status == 408 {
                return Err(UpstreamError::Died { reused });
            }
            received.drain(..skipped + framing.consumed);
            return Ok(UpstreamResponse {
                status: framing.status,
                head: framing.head,
                first_byte_at,
                stream,
                received,
                body: framing.body,
                keep_alive: framing.keep_alive,
            });
        }
        received.drain(..skipped);
        if received.len() > limits.head_bytes_max {
            return Err(UpstreamError::Malformed(format!(
                "head larger than {} bytes",
                limits.head_bytes_max
            )));
        }
        scanned = received.len().saturating_sub(3);
    }
}

/// Whether the bytes received while a request is still being sent are an error response. Interim responses are
/// removed from `received`.
pub(crate) fn refuses(received: &mut Vec<u8>) -> Result<bool, UpstreamError> {
    let limits = HeadLimits::default();
    let mut skipped = 0;
    while let Some(unread) = received.get(skipped..)
        && head_end(unread, 0).is_some()
    {
        let Some(framing) = framing(unread, &limits, &|_: &ResponseHead<'_>| ())? else {
            break;
        };
        if !framing.is_interim {
            let is_refused = framing.status >= 400;
            received.drain(..skipped);
            return Ok(is_refused);
        }
        skipped += framing.consumed;
    }
    received.drain(..skipped);
    Ok(false)
}

/// What the head of a response says about its body and connection.
struct Framing<H> {
    head: H,
    status: u16,
    is_interim: bool,
    body: BodyReader,
    keep_alive: bool,
    consumed: usize,
}

/// `None` if the head is not complete yet.
fn framing<H>(
    received: &[u8],
    limits: &HeadLimits,
    read_head: &impl Fn(&ResponseHead<'_>) -> H,
) -> Result<Option<Framing<H>>, UpstreamError> {
    let malformed = |bad: &dyn std::fmt::Display| UpstreamError::Malformed(bad.to_string());
    let parsed = parse_response_head(received, limits).map_err(|bad| malformed(&bad))?;
    let Parsed::Complete {
        value: head,
        consumed,
    } = parsed
    else {
        return Ok(None);
    };
    if head.status == 101 {
        return Err(malformed(&"it switched protocols, which was not asked for"));
    }
    let is_interim = (100..200).contains(&head.status);
    let length = if is_interim {
        BodyLength::None
    } else {
        response_body(Method::Post, &head).map_err(|bad| malformed(&bad))?
    };
    Ok(Some(Framing {
        head: read_head(&head),
        status: head.status,
        is_interim,
        body: BodyReader::new(length),
        keep_alive: response_keep_alive(&head) && length != BodyLength::UntilClose,
        consumed,
    }))
}

enum ReadError {
    Io(SocketError),
    Interrupted(Interruption),
}

async fn fill_or_interrupted(
    stream: &mut Stream,
    into: &mut Vec<u8>,
    by: Instant,
    client: &mut impl Interrupt,
) -> Result<usize, ReadError> {
    let poll = |cx: &mut Context<'_>| {
        if let Poll::Ready(outcome) = stream.poll_fill(into, cx) {
            return Poll::Ready(outcome.map_err(ReadError::Io));
        }
        client
            .poll_interrupt(cx)
            .map(|why| Err(ReadError::Interrupted(why)))
    };
    before(by, poll_fn(poll))
        .await
        .unwrap_or(Err(ReadError::Io(SocketError::Deadline)))
}

impl<H> UpstreamResponse<H> {
    /// Closes the connection after this response instead of pooling it.
    pub(crate) fn last(mut self) -> Self {
        self.keep_alive = false;
        self
    }

    /// The bytes of the body that are known to follow.
    pub(crate) fn announced(&self) -> u64 {
        self.body.announced()
    }

    /// Appends the next bytes of the decoded body to `into`: at least one, or the end of the body.
    ///
    /// # Errors
    /// [`UpstreamBodyError`]; the connection must not be used again.
    pub(crate) async fn read(
        &mut self,
        into: &mut Vec<u8>,
        by: Instant,
        client: &mut impl Interrupt,
    ) -> Result<BodyProgress, UpstreamBodyError> {
        let before = into.len();
        loop {
            let consumed = self
                .body
                .read(&self.received, into)
                .map_err(|bad| UpstreamBodyError::Broken(bad.to_string()))?;
            if consumed == self.received.len() {
                self.received.clear();
            } else {
                self.received.drain(..consumed);
            }
            if self.body.is_done() {
                return Ok(BodyProgress::Done);
            }
            if into.len() > before {
                return Ok(BodyProgress::More);
            }
            match fill_or_interrupted(&mut self.stream, &mut self.received, by, client).await {
                Ok(0) => {
                    return self
                        .body
                        .end_of_input()
                        .map(|()| BodyProgress::Done)
                        .map_err(|bad| UpstreamBodyError::Broken(bad.to_string()));
                }
                Ok(_) => {}
                Err(ReadError::Interrupted(why)) => {
                    return Err(UpstreamBodyError::Interrupted(why));
                }
                Err(ReadError::Io(SocketError::Deadline)) => {
                    return Err(UpstreamBodyError::Stalled);
                }
                Err(ReadError::Io(error)) => {
                    return Err(UpstreamBodyError::Broken(error.to_string()));
                }
            }
        }
    }

    /// Ends the exchange. The connection returns to the pool if the whole response was consumed and no bytes follow
    /// it; otherwise it is closed. Returns the result of `read_head`.
    pub(crate) fn finish(self, endpoint: &Endpoint, pool: &RefCell<ConnectionPool>) -> H {
        if self.body.is_done() && self.keep_alive && self.received.is_empty() {
            pool.borrow_mut()
                .give(endpoint, self.stream, clock::recent());
        }
        buffer::give(self.received);
        self.head
    }
}
