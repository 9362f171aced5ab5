//! Relays a body unchanged, chunk by chunk; buffers only bytes that the client has not accepted yet. It must not know
//! which endpoint the body belongs to.

use crate::accounting::billing::BilledUsage;
use crate::auth::response_ids::ResponseIdSeal;
use crate::gateway::context::request_context::RequestContext;
use crate::gateway::core::Core;
use crate::gateway::streaming::event_writer::Framing;
use crate::gateway::streaming::stream_end::StreamEnd;
use crate::gateway::streaming::stream_response;
use crate::gateway::transform::id_sealing::IdSealer;
use crate::gateway::transform::stream_relay::{EventTooLarge, StreamRelay};
use crate::http::encode;
use crate::protocols::json::document::Scratch;
use crate::protocols::passthrough::{TAIL_BYTES, usage_in};
use crate::runtime::clock;
use crate::runtime::source::BodyProgress;
use crate::server::client::Client;
use crate::upstream::exchange::UpstreamResponse;
use std::cell::RefCell;
use std::time::Duration;

/// What is read of a body while it is relayed.
pub(crate) enum RawBodyRelay {
    /// Events of OpenAI's completions: their usage and their end.
    Events(StreamRelay),
    /// Events of Responses, in which the ids are sealed.
    SealedEvents(IdSealer),
    /// Any body: its last bytes, in which the usage is searched.
    Bytes { tail: Vec<u8> },
}

/// The first bytes of a body, and the head of the response that goes before them.
pub(crate) struct BodyStart {
    pub bytes: Vec<u8>,
    /// The body is complete.
    pub is_done: bool,
    pub head: Vec<u8>,
}

impl RawBodyRelay {
    #[must_use]
    pub(crate) fn raw() -> Self {
        Self::Bytes { tail: Vec::new() }
    }

    #[must_use]
    pub(crate) fn of_events(show_usage: bool) -> Self {
        Self::Events(StreamRelay::new(show_usage))
    }

    #[must_use]
    pub(crate) fn sealed(seal: ResponseIdSeal) -> Self {
        Self::SealedEvents(IdSealer::new(seal))
    }

    /// Appends what arrived, emptied, to what the client gets.
    fn take_in(
        &mut self,
        scratch: &RefCell<Scratch>,
        arrived: &mut BodyStart,
        framing: Framing,
        out: &mut Vec<u8>,
    ) -> Result<(), EventTooLarge> {
        let mark = (framing == Framing::Chunked).then(|| encode::begin_chunk(out));
        let mut fed = Ok(());
        match self {
            Self::Events(relay) => {
                fed = relay.feed(&mut arrived.bytes, out, |_, _| {});
                if arrived.is_done {
                    relay.end(out, |_, _| {});
                }
            }
            Self::SealedEvents(sealer) => {
                let mut scratch = scratch.borrow_mut();
                fed = sealer.feed(&mut arrived.bytes, arrived.is_done, &mut scratch);
                out.append(&mut arrived.bytes);
            }
            Self::Bytes { tail } => {
                append_tail(tail, &arrived.bytes);
                out.append(&mut arrived.bytes);
            }
        }
        if let Some(mark) = mark {
            encode::finish_chunk(out, mark);
        }
        fed
    }

    /// Whether a body that has ended is complete.
    fn is_complete(&self) -> bool {
        match self {
            Self::Events(relay) => relay.is_complete() || relay.has_failed(),
            Self::SealedEvents(_) | Self::Bytes { .. } => true,
        }
    }

    /// The usage to bill, as far as the body reports it.
    #[must_use]
    pub(crate) fn billed_usage(&self) -> BilledUsage {
        let usage = match self {
            Self::Events(relay) => relay.usage(),
            Self::SealedEvents(_) => None,
            Self::Bytes { tail } => usage_in(tail),
        };
        usage.map_or(BilledUsage::Unknown, BilledUsage::Reported)
    }

    /// Relays the body to its end.
    pub(crate) async fn pump<H>(
        &mut self,
        scratch: &RefCell<Scratch>,
        upstream_response: &mut UpstreamResponse<H>,
        read_timeout: Duration,
        mut arrived: BodyStart,
        client: &mut Client,
    ) -> StreamEnd {
        let framing = Framing::of(client);
        let mut out = std::mem::take(&mut arrived.head);
        loop {
            let fed = self.take_in(scratch, &mut arrived, framing, &mut out);
            let is_over = fed.is_ok() && arrived.is_done && self.is_complete();
            if is_over && framing == Framing::Chunked {
                encode::last_chunk(&mut out);
            }
            if !out.is_empty() {
                let (sent, buffer) = client.write(out).await;
                out = buffer;
                out.clear();
                if sent.is_err() {
                    return StreamEnd::ClientGone;
                }
            }
            if is_over {
                return StreamEnd::Complete;
            }
            if fed.is_err() {
                return StreamEnd::event_too_large();
            }
            if arrived.is_done {
                return StreamEnd::truncated();
            }
            let by = clock::recent() + read_timeout;
            match upstream_response.read(&mut arrived.bytes, by, client).await {
                Ok(piece) => arrived.is_done = piece == BodyProgress::Done,
                Err(error) => return error.into(),
            }
        }
    }

    /// Reports to the client how the body ended, unless it is complete, and counts it.
    pub(crate) async fn conclude(
        &self,
        core: &Core,
        end: StreamEnd,
        client: &mut Client,
        ctx: &mut RequestContext,
    ) {
        match self {
            Self::Events(_) => stream_response::conclude(core, end, client, ctx).await,
            Self::SealedEvents(_) | Self::Bytes { .. } => {
                stream_response::conclude_silently(core, end, client, ctx);
            }
        }
    }
}

/// Keeps the last [`TAIL_BYTES`] of a body in `tail`.
fn append_tail(tail: &mut Vec<u8>, bytes: &[u8]) {
    let from = bytes.len().saturating_sub(TAIL_BYTES);
    tail.extend_from_slice(bytes.get(from..).unwrap_or_default());
    let excess = tail.len().saturating_sub(TAIL_BYTES);
    tail.drain(..excess);
}
