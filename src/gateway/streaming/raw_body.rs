//! A body on its way to the client as it came, piece by piece: nothing is held back but what is not written
//! yet. It must not know which endpoint it belongs to.

use crate::accounting::billing::BilledUsage;
use crate::auth::response_ids::ResponseIdSeal;
use crate::error::code::ErrorCode;
use crate::error::gateway_error::GatewayError;
use crate::gateway::context::request_context::RequestContext;
use crate::gateway::core::Core;
use crate::gateway::streaming::id_sealing::IdSealer;
use crate::gateway::streaming::relay_response;
use crate::gateway::streaming::stream_relay::StreamRelay;
use crate::gateway::streaming::upstream_stream::{StreamEnd, stopping};
use crate::http::encode;
use crate::protocols::json::document::Scratch;
use crate::protocols::passthrough::{TAIL_BYTES, usage_in};
use crate::runtime::clock;
use crate::runtime::io::Interruption;
use crate::server::client::Client;
use crate::upstream::exchange::UpstreamResponse;
use crate::upstream::exchange::{Piece, UpstreamBodyError};
use std::cell::RefCell;
use std::time::Duration;

/// What a body is watched by.
pub(crate) struct RawBodyRelay {
    /// Reads events of OpenAI's completions; `None` passes on anything.
    events: Option<StreamRelay>,
    /// Seals the ids in events of Responses.
    id_sealer: Option<IdSealer>,
    /// The end of what was passed on.
    tail: Vec<u8>,
}

/// What arrived of a body, and is to be sent.
pub(crate) struct Arrived {
    /// Bytes of the body.
    pub bytes: Vec<u8>,
    /// They are its last.
    pub is_done: bool,
    /// The head of the answer, which goes before them.
    pub head: Vec<u8>,
}

impl RawBodyRelay {
    /// Of anything.
    #[must_use]
    pub(crate) fn raw() -> Self {
        Self {
            events: None,
            id_sealer: None,
            tail: Vec::new(),
        }
    }

    /// Of a stream of events, which says itself when it is complete.
    #[must_use]
    pub(crate) fn of_events(shows_usage: bool) -> Self {
        Self {
            events: Some(StreamRelay::new(shows_usage)),
            ..Self::raw()
        }
    }

    /// Of events of Responses.
    #[must_use]
    pub(crate) fn sealed(seal: ResponseIdSeal) -> Self {
        Self {
            id_sealer: Some(IdSealer::new(seal)),
            ..Self::raw()
        }
    }

    /// Keeps the end of what was seen.
    fn keep(&mut self, bytes: &[u8]) {
        let from = bytes.len().saturating_sub(TAIL_BYTES);
        self.tail
            .extend_from_slice(bytes.get(from..).unwrap_or_default());
        let excess = self.tail.len().saturating_sub(TAIL_BYTES);
        self.tail.drain(..excess);
    }

    /// Appends what arrived; false when an event is too large.
    fn take_in(
        &mut self,
        scratch: &RefCell<Scratch>,
        arrived: &mut Arrived,
        chunked: bool,
        out: &mut Vec<u8>,
    ) -> bool {
        let mark = chunked.then(|| encode::begin_chunk(out));
        let mut fits = true;
        if let Some(relay) = &mut self.events {
            fits = relay.feed(&mut arrived.bytes, out, |_, _| {}).is_ok();
            if arrived.is_done {
                relay.end(out, |_, _| {});
            }
        } else if let Some(sealer) = &mut self.id_sealer {
            let mut scratch = scratch.borrow_mut();
            let fed = sealer.feed(&mut arrived.bytes, arrived.is_done, &mut scratch);
            fits = fed.is_ok();
            out.append(&mut arrived.bytes);
        } else {
            self.keep(&arrived.bytes);
            out.append(&mut arrived.bytes);
        }
        if let Some(mark) = mark {
            encode::finish_chunk(out, mark);
        }
        fits
    }

    fn is_whole(&self) -> bool {
        let events = self.events.as_ref();
        events.is_none_or(|relay| relay.is_complete() || relay.has_failed())
    }

    /// What was bought, as far as the body said.
    #[must_use]
    pub(crate) fn billed_usage(&self) -> BilledUsage {
        let usage = match &self.events {
            Some(relay) => relay.usage(),
            None => usage_in(&self.tail),
        };
        usage.map_or(BilledUsage::Unknown, BilledUsage::Reported)
    }

    /// Moves the body on to its end.
    pub(crate) async fn pump<H>(
        &mut self,
        scratch: &RefCell<Scratch>,
        upstream_response: &mut UpstreamResponse<H>,
        read_timeout: Duration,
        mut arrived: Arrived,
        client: &mut Client,
    ) -> StreamEnd {
        let mut out = std::mem::take(&mut arrived.head);
        let broken = |code, message: String| StreamEnd::Upstream(GatewayError::new(code, message));
        loop {
            let fits = self.take_in(scratch, &mut arrived, !client.is_http10, &mut out);
            let is_over = fits && arrived.is_done && self.is_whole();
            if is_over && !client.is_http10 {
                encode::last_chunk(&mut out);
            }
            if !out.is_empty() {
                let (sent, buffer) = client.write(out).await;
                out = buffer;
                out.clear();
                if sent.is_err() {
                    return StreamEnd::Client;
                }
            }
            if is_over {
                return StreamEnd::Complete;
            }
            if !fits {
                let message = "the provider sent an event larger than the limit";
                return broken(ErrorCode::UpstreamEventTooLarge, message.to_owned());
            }
            if arrived.is_done {
                let message = "the provider ended the stream without finishing its answer";
                return broken(ErrorCode::UpstreamTruncated, message.to_owned());
            }
            let by = clock::recent() + read_timeout;
            match upstream_response.read(&mut arrived.bytes, by, client).await {
                Ok(piece) => arrived.is_done = piece == Piece::Done,
                Err(UpstreamBodyError::Interrupted(Interruption::ClientGone)) => {
                    return StreamEnd::Client;
                }
                Err(UpstreamBodyError::Interrupted(_)) => return StreamEnd::Drained,
                Err(fault) => {
                    let why = fault.why();
                    let message =
                        format!("the provider broke off in the middle of its answer ({why})");
                    return broken(ErrorCode::UpstreamClosedEarly, message);
                }
            }
        }
    }

    /// Tells the client how it ended, unless that was well. What is no stream of events cannot say that it
    /// broke: its connection is closed before its end.
    pub(crate) async fn conclude(
        &self,
        core: &Core,
        end: StreamEnd,
        client: &mut Client,
        ctx: &mut RequestContext,
    ) {
        let (side, fault) = match end {
            StreamEnd::Upstream(fault) if self.events.is_none() => ("upstream", fault),
            StreamEnd::TooSlow(fault) if self.events.is_none() => ("client", fault),
            StreamEnd::Drained if self.events.is_none() => ("drain", stopping()),
            end => return relay_response::conclude(core, end, client, ctx).await,
        };
        client.keep_alive = false;
        ctx.outcome.failed(fault.code);
        core.metrics
            .borrow_mut()
            .requests
            .streams_broken
            .increment(side);
    }
}
