//! One request to a provider and the head of its answer; then its body, piece by piece.

use crate::error::class::Retry;
use crate::http::framing::{BodyLength, BodyReader, response_body, response_keep_alive};
use crate::http::head::{Method, Parsed, ResponseHead, head_end, parse_response_head};
use crate::http::limits::HeadLimits;
use crate::runtime::buffer;
use crate::runtime::clock;
use crate::runtime::heap::on_heap;
use crate::runtime::io::{Interrupt, Interruption, SocketError, before, connect};
use crate::runtime::stream::Stream;
use crate::runtime::tls::Session;
use crate::upstream::endpoint::Endpoint;
use crate::upstream::pool::ConnectionPool;
use std::cell::RefCell;
use std::future::poll_fn;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

/// What went wrong with an upstream attempt before its answer could be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum UpstreamError {
    /// The host's name has no address.
    NoAddress(String),
    /// There is nothing to prove with who asks.
    NoCredentials(String),
    /// The connection could not be made.
    Connect(String),
    /// TLS could not be agreed, or the certificate is not trusted.
    Tls(String),
    /// No first byte in time.
    FirstByte,
    /// The connection died before the answer's first byte.
    Died {
        /// The connection had been used before: it may just have been closed as idle.
        reused: bool,
    },
    /// What came is no HTTP answer.
    Malformed(String),
    /// The wait was cut short by the client or by a stop.
    Interrupted(Interruption),
}

impl UpstreamError {
    /// Outcome in metrics.
    #[must_use]
    pub(crate) fn outcome(&self) -> &'static str {
        match self {
            Self::NoAddress(_) => "no_address",
            Self::NoCredentials(_) => "no_credentials",
            Self::Connect(_) => "connect_failed",
            Self::Tls(_) => "tls_failed",
            Self::FirstByte => "first_byte_timeout",
            Self::Died { .. } => "connection_died",
            Self::Malformed(_) => "malformed",
            Self::Interrupted(Interruption::ClientGone) => "client_disconnected",
            Self::Interrupted(Interruption::Drained) => "drained",
            Self::Interrupted(Interruption::Outrun) => "hedge_cancelled",
        }
    }

    /// What may be tried next.
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
            Self::Died { .. } => f.write_str("connection closed before the answer"),
            Self::Malformed(why) => write!(f, "not an HTTP answer ({why})"),
            Self::Interrupted(_) => f.write_str("interrupted"),
        }
    }
}

/// An answer whose head has arrived; `H` is what the caller took from the head.
pub(crate) struct UpstreamResponse<H> {
    /// Status.
    pub status: u16,
    /// What the caller took from the head.
    pub head: H,
    /// When its first byte came.
    pub first_byte_at: Instant,
    stream: Stream,
    received: Vec<u8>,
    body: BodyReader,
    keep_alive: bool,
}

/// Outcome of reading a piece of a body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Piece {
    /// Bytes were appended, more will come.
    More,
    /// The body is complete.
    Done,
}

/// Why a body could not be read to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum UpstreamBodyError {
    /// It ended or broke in the middle.
    Broken(String),
    /// Nothing came in time; what comes later can still be read.
    Stalled,
    /// The wait was cut short by the client or by a stop.
    Interrupted(Interruption),
}

impl UpstreamBodyError {
    /// Why, for the operator.
    #[must_use]
    pub(crate) fn why(&self) -> &str {
        match self {
            Self::Broken(why) => why,
            Self::Stalled => "deadline passed",
            Self::Interrupted(_) => "interrupted",
        }
    }
}

/// What one attempt used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Used {
    /// A pooled connection was used.
    pub reused: bool,
    /// Time it took to connect, with the TLS handshake; `None` if no connection was made.
    pub connect: Option<Duration>,
}

/// Sends `request` (head and body) and waits for the head of the answer. A pooled connection is
/// taken when `fresh` is false and one is there. The request's buffer is handed back for a retry.
/// Nothing of it takes longer than until `until`, whatever the endpoint's own limits.
/// `read_head` takes what is needed from the answer's head while it is parsed.
///
/// # Errors
/// [`UpstreamError`]; no byte of an answer has been used then.
pub(crate) async fn exchange<H>(
    endpoint: &Endpoint,
    pool: &RefCell<ConnectionPool>,
    request: Vec<u8>,
    fresh: bool,
    until: Instant,
    client: &mut impl Interrupt,
    read_head: impl Fn(&ResponseHead<'_>) -> H,
) -> (Result<UpstreamResponse<H>, UpstreamError>, Vec<u8>, Used) {
    let pooled = if fresh {
        None
    } else {
        pool.borrow_mut().take(endpoint, clock::recent())
    };
    let mut used = Used {
        reused: pooled.is_some(),
        connect: None,
    };
    let began_at = clock::recent();
    let stream = match pooled {
        Some(stream) => stream,
        // On the heap: rare, and its state larger than the rest of an exchange.
        None => match on_heap(|| dial(endpoint, until, client)).await {
            Ok(stream) => {
                used.connect = Some(clock::now().saturating_duration_since(began_at));
                stream
            }
            Err(fault) => return (Err(fault), request, used),
        },
    };
    let mut stream = stream;
    let by = until.min(clock::recent() + endpoint.timeouts.first_byte);
    let (sent, request) = stream.write_all_unless(request, by, client).await;
    if let Err(fault) = sent {
        let fault = match fault {
            SocketError::Deadline => UpstreamError::FirstByte,
            SocketError::Interrupted(why) => UpstreamError::Interrupted(why),
            _ => UpstreamError::Died {
                reused: used.reused,
            },
        };
        return (Err(fault), request, used);
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
    let by = until.min(clock::now() + endpoint.timeouts.connect);
    let socket = unless_interrupted(client, connect(address, by))
        .await?
        .map_err(|fault| UpstreamError::Connect(format!("{address}: {fault}")))?;
    let Some(settings) = &endpoint.tls else {
        return Ok(Stream::plain(socket));
    };
    let session = Session::client(settings, &endpoint.url.host)
        .map_err(|_| UpstreamError::Tls("the host is not a valid TLS name".into()))?;
    let by = until.min(clock::now() + endpoint.timeouts.tls);
    Stream::handshake_unless(socket, session, by, client)
        .await
        .map_err(|fault| match fault {
            SocketError::Interrupted(why) => UpstreamError::Interrupted(why),
            fault => UpstreamError::Tls(format!("{address}: {fault}")),
        })
}

/// `operation`, which must be safe to drop, unless the client or a stop comes first.
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

/// Waits for the head of the answer, of which `received` came already.
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
        let count = count.map_err(|stop| match stop {
            Stop::Interrupted(why) => UpstreamError::Interrupted(why),
            Stop::Io(SocketError::Deadline) if first_byte_at.is_none() => UpstreamError::FirstByte,
            Stop::Io(_) if first_byte_at.is_none() => UpstreamError::Died { reused },
            Stop::Io(fault) => UpstreamError::Malformed(format!("head cut off: {fault}")),
        })?;
        if count == 0 {
            return Err(match first_byte_at {
                None => UpstreamError::Died { reused },
                Some(_) => UpstreamError::Malformed("head cut off".into()),
            });
        }
        let first_byte_at = *first_byte_at.get_or_insert_with(clock::now);
        while head_end(&received, scanned).is_some() {
            let Some(framing) = framing(&received, &limits, &read_head)? else {
                break;
            };
            if framing.is_interim {
                // An interim answer: the real one follows.
                received.drain(..framing.consumed);
                scanned = 0;
                continue;
            }
            // A server that closes idle connections may say 408 first: that is no answer to ours.
            if reused && framing.status == 408 {
                return Err(UpstreamError::Died { reused });
            }
            received.drain(..framing.consumed);
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
        if received.len() > limits.head_bytes_max {
            return Err(UpstreamError::Malformed(format!(
                "head larger than {} bytes",
                limits.head_bytes_max
            )));
        }
        scanned = received.len().saturating_sub(3);
    }
}

/// Whether what came of an answer while its request was still being sent refuses the request. Interim answers are
/// taken out of it.
pub(crate) fn refuses(received: &mut Vec<u8>) -> Result<bool, UpstreamError> {
    let limits = HeadLimits::default();
    while head_end(received, 0).is_some() {
        let Some(framing) = framing(received, &limits, &|_: &ResponseHead<'_>| ())? else {
            break;
        };
        if !framing.is_interim {
            return Ok(framing.status >= 400);
        }
        received.drain(..framing.consumed);
    }
    Ok(false)
}

/// What a head says about its message.
struct Framing<H> {
    head: H,
    status: u16,
    is_interim: bool,
    body: BodyReader,
    keep_alive: bool,
    consumed: usize,
}

/// `None` when the head is not complete yet.
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
    let is_interim = (100..200).contains(&head.status) && head.status != 101;
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

enum Stop {
    Io(SocketError),
    Interrupted(Interruption),
}

async fn fill_or_interrupted(
    stream: &mut Stream,
    into: &mut Vec<u8>,
    by: Instant,
    client: &mut impl Interrupt,
) -> Result<usize, Stop> {
    let poll = |cx: &mut Context<'_>| {
        if let Poll::Ready(outcome) = stream.poll_fill(into, cx) {
            return Poll::Ready(outcome.map_err(Stop::Io));
        }
        client
            .poll_interrupt(cx)
            .map(|why| Err(Stop::Interrupted(why)))
    };
    before(by, poll_fn(poll))
        .await
        .unwrap_or(Err(Stop::Io(SocketError::Deadline)))
}

impl<H> UpstreamResponse<H> {
    /// An answer whose connection must not be used again.
    pub(crate) fn last(mut self) -> Self {
        self.keep_alive = false;
        self
    }

    /// Appends what comes next of the decoded body to `into`: at least one byte, or the end.
    ///
    /// # Errors
    /// [`UpstreamBodyError`]; the connection must not be used again.
    pub(crate) async fn read(
        &mut self,
        into: &mut Vec<u8>,
        by: Instant,
        client: &mut impl Interrupt,
    ) -> Result<Piece, UpstreamBodyError> {
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
                return Ok(Piece::Done);
            }
            if into.len() > before {
                return Ok(Piece::More);
            }
            match fill_or_interrupted(&mut self.stream, &mut self.received, by, client).await {
                Ok(0) => {
                    return self
                        .body
                        .end_of_input()
                        .map(|()| Piece::Done)
                        .map_err(|bad| UpstreamBodyError::Broken(bad.to_string()));
                }
                Ok(_) => {}
                Err(Stop::Interrupted(why)) => return Err(UpstreamBodyError::Interrupted(why)),
                Err(Stop::Io(SocketError::Deadline)) => return Err(UpstreamBodyError::Stalled),
                Err(Stop::Io(fault)) => return Err(UpstreamBodyError::Broken(fault.to_string())),
            }
        }
    }

    /// Ends the exchange: the connection goes back to the pool if the whole answer was consumed and
    /// nothing follows it, else it is closed. Hands over what was taken from the head.
    pub(crate) fn finish(self, endpoint: &Endpoint, pool: &RefCell<ConnectionPool>) -> H {
        if self.body.is_done() && self.keep_alive && self.received.is_empty() {
            pool.borrow_mut()
                .give(endpoint, self.stream, clock::recent());
        }
        buffer::give(self.received);
        self.head
    }
}
