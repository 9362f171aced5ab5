//! One request to a provider whose body is passed on while it arrives: never held whole, never sent twice.

use crate::http::head::ResponseHead;
use crate::runtime::buffer;
use crate::runtime::clock;
use crate::runtime::heap::on_heap;
use crate::runtime::io::{Interruption, SocketError, UNREAD_BYTES_MAX, before};
use crate::runtime::source::{Next, Source};
use crate::runtime::stream::Stream;
use crate::upstream::endpoint::Endpoint;
use crate::upstream::exchange;
use crate::upstream::exchange::{UpstreamError, UpstreamResponse, Used};
use std::future::poll_fn;
use std::task::Poll;

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum UploadError {
    /// The provider's side.
    Upstream(UpstreamError),
    /// The body did not come in time.
    Late,
}

impl From<UpstreamError> for UploadError {
    fn from(fault: UpstreamError) -> Self {
        Self::Upstream(fault)
    }
}

/// Sends `head` over a fresh connection, then the body from `source` as it comes, and waits for the head of the
/// answer. A provider that refuses before it has all of the body is listened to at once. Any other early answer
/// is read once the body is sent.
///
/// # Errors
/// [`UploadError`]; nothing was sent if no connection was made. A connection whose request was not sent to its end
/// is closed.
pub(crate) async fn upload<H>(
    endpoint: &Endpoint,
    head: Vec<u8>,
    source: &mut impl Source,
    read_head: impl Fn(&ResponseHead<'_>) -> H,
) -> (Result<UpstreamResponse<H>, UploadError>, Used) {
    let mut used = Used::default();
    let began_at = clock::recent();
    let until = began_at + endpoint.timeouts.connect + endpoint.timeouts.tls;
    let stream = match on_heap(|| exchange::dial(endpoint, until, source)).await {
        Ok(stream) => stream,
        Err(fault) => return (Err(fault.into()), used),
    };
    used.connect = Some(clock::now().saturating_duration_since(began_at));
    let mut sending = Sending {
        stream,
        received: Vec::new(),
        is_whole: false,
    };
    let sent = sending.send(endpoint, head, source).await;
    // What came before a connection broke is the answer, if it is one.
    if let Err(fault) = sent
        && (sending.received.is_empty() || !is_of_the_provider(&fault))
    {
        return (Err(fault), used);
    }
    let by = clock::now() + endpoint.timeouts.first_byte;
    let Sending {
        stream,
        received,
        is_whole,
    } = sending;
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

fn is_of_the_provider(fault: &UploadError) -> bool {
    use UpstreamError::Interrupted;
    !matches!(
        fault,
        UploadError::Late | UploadError::Upstream(Interrupted(_))
    )
}

/// A request that is being sent.
struct Sending {
    stream: Stream,
    /// What came of the answer meanwhile.
    received: Vec<u8>,
    /// All of the body was sent.
    is_whole: bool,
}

/// What happened first.
enum Turn {
    Body(Result<Next, SocketError>),
    Answer(Result<usize, SocketError>),
    Interrupted(Interruption),
}

impl Sending {
    /// Sends all of it, unless the provider refuses first.
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
        source.begin().await.map_err(|_| GONE)?;
        loop {
            match self.turn(&mut piece, source).await {
                None => return Err(UploadError::Late),
                Some(Turn::Interrupted(why)) => return Err(UpstreamError::Interrupted(why).into()),
                Some(Turn::Answer(Ok(count))) if count > 0 => {
                    if exchange::refuses(&mut self.received)? {
                        buffer::give(piece);
                        return Ok(());
                    }
                }
                Some(Turn::Answer(_)) => return Err(DIED.into()),
                Some(Turn::Body(next)) => {
                    let next = next.map_err(|_| GONE)?;
                    self.write(endpoint, &mut piece, source).await?;
                    if next == Next::Last {
                        self.is_whole = true;
                        buffer::give(piece);
                        return Ok(());
                    }
                }
            }
        }
    }

    /// Waits for the next piece, or for the provider to say something; `None` when the piece is late.
    async fn turn(&mut self, piece: &mut Vec<u8>, source: &mut impl Source) -> Option<Turn> {
        let due = source.due();
        let turn = poll_fn(|cx| {
            // Before the piece: there is no use in sending on to who has refused.
            if self.received.len() < UNREAD_BYTES_MAX
                && let Poll::Ready(filled) = self.stream.poll_fill(&mut self.received, cx)
            {
                return Poll::Ready(Turn::Answer(filled));
            }
            if let Poll::Ready(next) = source.poll_next(piece, cx) {
                return Poll::Ready(Turn::Body(next));
            }
            source.poll_interrupt(cx).map(Turn::Interrupted)
        });
        before(due, turn).await
    }

    /// Sends a piece and empties it. As long as the provider does not take it, nothing more is read.
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
        source.excuse(clock::now().saturating_duration_since(began_at));
        *piece = bytes;
        piece.clear();
        let Err(fault) = sent else {
            return Ok(());
        };
        // It may have said why before it closed.
        let _ = poll_fn(|cx| Poll::Ready(self.stream.poll_fill(&mut self.received, cx))).await;
        Err(UploadError::Upstream(match fault {
            SocketError::Deadline => UpstreamError::FirstByte,
            SocketError::Interrupted(why) => UpstreamError::Interrupted(why),
            _ => UpstreamError::Died { reused: false },
        }))
    }
}
