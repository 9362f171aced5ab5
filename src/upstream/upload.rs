//! One request to a provider whose body is forwarded while it arrives: it is never buffered whole and never sent
//! twice. It must not know protocols.

use crate::http::head::ResponseHead;
use crate::runtime::buffer;
use crate::runtime::clock;
use crate::runtime::heap::on_heap;
use crate::runtime::io::{Interruption, SocketError, before};
use crate::runtime::reader::UNREAD_BYTES_MAX;
use crate::runtime::source::{BodyProgress, Source};
use crate::runtime::stream::Stream;
use crate::upstream::endpoint::Endpoint;
use crate::upstream::exchange;
use crate::upstream::exchange::{ConnectionUse, UpstreamError, UpstreamResponse};
use std::future::poll_fn;
use std::task::Poll;

/// Why there is no response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum UploadError {
    /// The provider failed.
    Upstream(UpstreamError),
    /// The client did not send the body in time.
    Late,
}

impl From<UpstreamError> for UploadError {
    fn from(error: UpstreamError) -> Self {
        Self::Upstream(error)
    }
}

/// Sends `head` over a new connection, then the body from `source` as it arrives, and waits for the head of the
/// response. An error response that arrives before the body is complete ends the sending at once. Any other early
/// response is read once the body is sent.
///
/// # Errors
/// [`UploadError`]; nothing was sent if no connection was made. A connection whose request was not sent to its end
/// is closed.
pub(crate) async fn upload<H>(
    endpoint: &Endpoint,
    head: Vec<u8>,
    source: &mut impl Source,
    read_head: impl Fn(&ResponseHead<'_>) -> H,
) -> (Result<UpstreamResponse<H>, UploadError>, ConnectionUse) {
    let mut used = ConnectionUse::default();
    let began_at = clock::recent();
    let until = began_at + endpoint.timeouts.connect + endpoint.timeouts.tls;
    let stream = match on_heap(|| exchange::dial(endpoint, until, source)).await {
        Ok(stream) => stream,
        Err(error) => return (Err(error.into()), used),
    };
    used.connect = Some(clock::now().saturating_duration_since(began_at));
    let mut uploading = UploadExchange {
        stream,
        received: Vec::new(),
        is_whole: false,
    };
    let sent = uploading.send(endpoint, head, source).await;
    // Bytes that arrived before a connection broke may be the response.
    if let Err(error) = sent
        && (uploading.received.is_empty() || !is_provider_error(&error))
    {
        return (Err(error), used);
    }
    let by = clock::now() + endpoint.timeouts.first_byte;
    let UploadExchange {
        stream,
        received,
        is_whole,
    } = uploading;
    let upstream_response =
        exchange::receive_head(stream, received, by, false, source, read_head).await;
    let upstream_response = upstream_response.map(|upstream_response| {
        if is_whole {
            upstream_response
        } else {
            upstream_response.last()
        }
    });
    (upstream_response.map_err(UploadError::from), used)
}

fn is_provider_error(error: &UploadError) -> bool {
    use UpstreamError::Interrupted;
    !matches!(
        error,
        UploadError::Late | UploadError::Upstream(Interrupted(_))
    )
}

/// A request with a body that is being sent.
struct UploadExchange {
    stream: Stream,
    /// Bytes of the response that arrived so far.
    received: Vec<u8>,
    /// Whether the whole body was sent.
    is_whole: bool,
}

/// The next event while the body is being sent.
enum UploadEvent {
    Body(Result<BodyProgress, SocketError>),
    Response(Result<usize, SocketError>),
    Interrupted(Interruption),
}

impl UploadExchange {
    /// Sends the head and the body, unless the provider sends an error response first.
    async fn send(
        &mut self,
        endpoint: &Endpoint,
        head: Vec<u8>,
        source: &mut impl Source,
    ) -> Result<(), UploadError> {
        const GONE: UpstreamError = UpstreamError::Interrupted(Interruption::ClientGone);
        const DIED: UpstreamError = UpstreamError::Died { reused: false };
        let mut piece = head;
        self.write(endpoint, &mut piece, source).await?;
        source.start().await.map_err(|_| GONE)?;
        loop {
            match self.next_event(&mut piece, source).await {
                None => return Err(UploadError::Late),
                Some(UploadEvent::Interrupted(why)) => {
                    return Err(UpstreamError::Interrupted(why).into());
                }
                Some(UploadEvent::Response(Ok(count))) if count > 0 => {
                    if exchange::refuses(&mut self.received)? {
                        buffer::give(piece);
                        return Ok(());
                    }
                }
                Some(UploadEvent::Response(_)) => return Err(DIED.into()),
                Some(UploadEvent::Body(next)) => {
                    let next = next.map_err(|_| GONE)?;
                    self.write(endpoint, &mut piece, source).await?;
                    if next == BodyProgress::Done {
                        self.is_whole = true;
                        buffer::give(piece);
                        return Ok(());
                    }
                }
            }
        }
    }

    /// Waits for the next piece of the body, or for bytes from the provider; `None` if the piece is late.
    async fn next_event(
        &mut self,
        piece: &mut Vec<u8>,
        source: &mut impl Source,
    ) -> Option<UploadEvent> {
        let due = source.due();
        let event = poll_fn(|cx| {
            // Read first: there is no reason to send more to a provider that sent an error response.
            if self.received.len() < UNREAD_BYTES_MAX
                && let Poll::Ready(filled) = self.stream.poll_fill(&mut self.received, cx)
            {
                return Poll::Ready(UploadEvent::Response(filled));
            }
            if let Poll::Ready(next) = source.poll_next(piece, cx) {
                return Poll::Ready(UploadEvent::Body(next));
            }
            source.poll_interrupt(cx).map(UploadEvent::Interrupted)
        });
        before(due, event).await
    }

    /// Sends a piece and clears it. Nothing more is read from the client until the provider accepted the piece.
    async fn write(
        &mut self,
        endpoint: &Endpoint,
        piece: &mut Vec<u8>,
        source: &mut impl Source,
    ) -> Result<(), UploadError> {
        let began_at = clock::recent();
        let by = began_at + endpoint.timeouts.first_byte;
        let bytes = std::mem::take(piece);
        let (sent, bytes) = self.stream.write_all_unless(bytes, by, source).await;
        source.extend_due(clock::now().saturating_duration_since(began_at));
        *piece = bytes;
        piece.clear();
        let Err(error) = sent else {
            return Ok(());
        };
        // The provider may have sent an error response before it closed.
        let _ = poll_fn(|cx| Poll::Ready(self.stream.poll_fill(&mut self.received, cx))).await;
        Err(UploadError::Upstream(match error {
            SocketError::Deadline => UpstreamError::FirstByte,
            SocketError::Interrupted(why) => UpstreamError::Interrupted(why),
            _ => UpstreamError::Died { reused: false },
        }))
    }
}
