//! A stream on its way in: what moves it on, settles it at its end, and lets it go on without the
//! client that caused it when others wait for it too.

use crate::accounting::billing::{BilledUsage, Charge, record_usage};
use crate::base::names::Name;
use crate::cache::coalesce::call_end::{End, Head};
use crate::cache::coalesce::shared_call::{Follower, SharedCall};
use crate::cache::coalesce::shared_calls::Leader;
use crate::cache::response::from_stream::StreamReader;
use crate::error::code::ErrorCode;
use crate::error::gateway_error::GatewayError;
use crate::gateway::attempt::attempt_loop::StreamingResponse;
use crate::gateway::caching::lookup::CacheSession;
use crate::gateway::context::request_context::RequestContext;
use crate::gateway::core::Core;
use crate::gateway::streaming::relay::Relay;
use crate::http::encode;
use crate::protocols::client_api;
use crate::protocols::client_api::ClientApi;
use crate::protocols::request::chat_request::ChatRequest;
use crate::protocols::usage::Usage;
use crate::routing::health::Outcome;
use crate::routing::measurements::Series;
use crate::runtime::buffer;
use crate::runtime::clock;
use crate::runtime::io::{Interrupt, Interruption};
use crate::runtime::spawn;
use crate::server::drain::ConnectionGuard;
use crate::upstream::exchange::{Piece, UpstreamBodyError};
use std::future::poll_fn;
use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

/// How long the end of a body is waited for once `[DONE]` was relayed, so that the connection can be reused.
const TAIL: Duration = Duration::from_millis(200);

/// How a stream ended for one client.
pub(crate) enum StreamEnd {
    /// All of it was relayed.
    Complete,
    /// The client is gone.
    Client,
    /// The client read too slowly for a shared stream; what it is told.
    TooSlow(GatewayError),
    /// The provider broke off; what the client is told.
    Upstream(GatewayError),
    /// The process stops.
    Drained,
}

/// The fault when a stream ends with the process.
pub(crate) fn stopping() -> GatewayError {
    GatewayError::new(
        ErrorCode::ShuttingDown,
        "the gateway is stopping; the stream is not complete",
    )
}

/// The stream.
pub(crate) struct UpstreamStream {
    core: Rc<Core>,
    response: Box<StreamingResponse>,
    /// What the client that caused it is relayed.
    pub relay: Relay,
    /// Estimated tokens of the prompt, where it is but text.
    prompt_tokens: Option<u64>,
    reader: Option<StreamReader>,
    /// Reads the answer that a mirror's is compared with.
    pub mirrored: Option<StreamReader>,
    cache: CacheSession,
    /// `None` when the call is not shared.
    leader: Option<Leader>,
    /// Events on their way to the followers.
    events: Vec<u8>,
    arrived: Vec<u8>,
    is_done: bool,
    has_large_event: bool,
}

impl UpstreamStream {
    /// Begins it.
    pub(crate) fn new(
        core: &Rc<Core>,
        mut response: Box<StreamingResponse>,
        client_api: &'static dyn ClientApi,
        chat: &ChatRequest,
        cache: CacheSession,
        leader: Option<Leader>,
    ) -> Self {
        if let Some(leader) = &leader {
            leader.begin(Head {
                target: response.target,
                status: response.upstream_response.status,
                forwarded: response.upstream_response.head.passed.clone(),
            });
        }
        let (relay, reader) = match client_api == client_api::DEFAULT {
            true => (Relay::openai(chat.wants_usage), cache.stream_reader()),
            false => (Relay::forward(client_api, cache.collector()), None),
        };
        Self {
            core: Rc::clone(core),
            relay,
            prompt_tokens: chat.shape.prompt_tokens(),
            reader,
            mirrored: None,
            cache,
            leader,
            events: buffer::take(buffer::CLASS_BYTES[0]),
            arrived: std::mem::take(&mut response.first),
            is_done: response.is_done,
            has_large_event: false,
            response,
        }
    }

    /// The target that answers.
    pub(crate) fn target(&self) -> Name {
        self.response.target
    }

    /// Status, and encoded header lines that cross to the client.
    pub(crate) fn head(&self) -> (u16, &[u8]) {
        (
            self.response.upstream_response.status,
            &self.response.upstream_response.head.passed,
        )
    }

    /// Ready when somebody follows.
    pub(crate) fn poll_has_followers(&self, cx: &mut Context<'_>) -> Poll<()> {
        let leader = self.leader.as_ref();
        leader.map_or(Poll::Pending, |leader| leader.poll_has_followers(cx))
    }

    /// True when nobody follows: from then on nobody may.
    pub(crate) fn close_if_no_followers(&self) -> bool {
        self.leader
            .as_ref()
            .is_none_or(Leader::close_if_no_followers)
    }

    /// Takes in what arrived: hands it to the followers, and appends what the client is to get.
    pub(crate) fn take_in(&mut self, chunked: bool, out: &mut Vec<u8>) {
        let is_readable = self.translate();
        let (reader, mirrored) = (&mut self.reader, &mut self.mirrored);
        let (events, core) = (&mut self.events, &self.core);
        let is_shared = self.leader.is_some();
        let watch = |event: &[u8], text: Option<Range<usize>>| {
            for reader in [&mut *reader, &mut *mirrored].into_iter().flatten() {
                let scratch = &mut core.scratch.borrow_mut();
                match &text {
                    Some(text) => reader.like_last(event, text.clone(), scratch),
                    None => reader.event(event, scratch),
                }
            }
            if is_shared {
                events.extend_from_slice(event);
            }
        };
        let (relay, arrived) = (&mut self.relay, &mut self.arrived);
        let fed = append_events(core, relay, watch, arrived, self.is_done, chunked, out);
        self.has_large_event = !(fed && is_readable);
        if let Some(leader) = &self.leader {
            leader.append(&self.events);
            self.events.clear();
        }
    }

    /// Puts what arrived into the caller's dialect, if it is in another, or seals its ids. False when an
    /// event is too large.
    fn translate(&mut self) -> bool {
        if let Some(sealer) = &mut self.response.id_sealer {
            let mut scratch = self.core.scratch.borrow_mut();
            let fed = sealer.feed(&mut self.arrived, self.is_done, &mut scratch);
            return fed.is_ok();
        }
        let Some(translation) = &mut self.response.translation else {
            return true;
        };
        let mut scratch = self.core.scratch.borrow_mut();
        let mut written = buffer::take(buffer::CLASS_BYTES[0]);
        let fed = translation.feed(&mut self.arrived, &mut written, &mut scratch);
        if self.is_done {
            translation.end(&mut written, &mut scratch);
        }
        buffer::give(std::mem::replace(&mut self.arrived, written));
        fed.is_ok()
    }

    /// How it ended, if what was taken in is the last.
    pub(crate) fn ended(&self) -> Option<StreamEnd> {
        if self.has_large_event {
            return Some(StreamEnd::Upstream(GatewayError::new(
                ErrorCode::UpstreamEventTooLarge,
                "the provider sent an event larger than the limit; the stream is not complete",
            )));
        }
        if !self.is_done && !self.relay.is_done() {
            return None;
        }
        if self.relay.is_complete() || self.relay.has_failed() {
            return Some(StreamEnd::Complete);
        }
        Some(StreamEnd::Upstream(GatewayError::new(
            ErrorCode::UpstreamTruncated,
            "the provider ended the stream without finishing its answer",
        )))
    }

    /// Waits for what comes next.
    pub(crate) async fn read(&mut self, client: &mut impl Interrupt) -> Result<(), StreamEnd> {
        let by = clock::recent() + self.response.backend.endpoint.timeouts.read;
        match self
            .response
            .upstream_response
            .read(&mut self.arrived, by, client)
            .await
        {
            Ok(piece) => {
                self.is_done = piece == Piece::Done;
                Ok(())
            }
            Err(UpstreamBodyError::Interrupted(Interruption::ClientGone)) => Err(StreamEnd::Client),
            Err(UpstreamBodyError::Interrupted(_)) => Err(StreamEnd::Drained),
            Err(fault @ (UpstreamBodyError::Broken(_) | UpstreamBodyError::Stalled)) => {
                let why = fault.why();
                Err(StreamEnd::Upstream(GatewayError::new(
                    ErrorCode::UpstreamClosedEarly,
                    format!("the provider broke off in the middle of the stream ({why})"),
                )))
            }
        }
    }

    /// What was bought until now. Without a report of the provider (it broke off, or the client went
    /// first) it is estimated, if the size of the prompt is known.
    pub(crate) fn billed_usage(&self) -> BilledUsage {
        if let Some(usage) = self.relay.usage() {
            return BilledUsage::Reported(usage);
        }
        self.prompt_tokens.map_or(BilledUsage::Unknown, |prompt| {
            BilledUsage::Estimated(Usage {
                prompt,
                completion: self.relay.tokens_estimated(),
                ..Usage::default()
            })
        })
    }

    /// Ends it: tells routing, stores the answer, tells the followers. True when nobody else books what
    /// it cost.
    pub(crate) async fn finish(mut self, end: &StreamEnd, client: &mut impl Interrupt) -> bool {
        let core = Rc::clone(&self.core);
        let comparison = match end {
            StreamEnd::Complete if self.relay.has_failed() => Outcome::StreamBroke,
            StreamEnd::Complete => Outcome::Good,
            StreamEnd::Upstream(_) => Outcome::StreamBroke,
            StreamEnd::Client | StreamEnd::TooSlow(_) | StreamEnd::Drained => Outcome::Abandoned,
        };
        if let Some(usage) = self.relay.usage() {
            let from = self.response.upstream_response.first_byte_at;
            let attempt_guard = &mut self.response.attempt_guard;
            attempt_guard.generated(Series::FirstToken, usage.completion, from);
        }
        self.response.attempt_guard.end(&core, comparison);
        let is_complete = matches!(end, StreamEnd::Complete);
        if let Some(reader) = self.reader.take().filter(|_| is_complete) {
            self.cache.store(self.response.target, |_| reader.finish());
        }
        if let Some(collector) = self.relay.take_collector().filter(|_| is_complete) {
            self.cache
                .store(self.response.target, |_| collector.finish());
        }
        let pays = self.leader.take().is_none_or(|leader| {
            let failed = |error| End::Failed {
                error: Arc::new(error),
                should_retry: None,
            };
            leader.finish(match end {
                StreamEnd::Complete => End::Complete(self.relay.usage()),
                StreamEnd::Upstream(fault) | StreamEnd::TooSlow(fault) => failed(fault.clone()),
                StreamEnd::Drained => failed(stopping()),
                StreamEnd::Client => End::Lost,
            })
        });
        buffer::give(self.arrived);
        buffer::give(self.events);
        if is_complete {
            finish_upstream(&core, *self.response, client).await;
        }
        pays
    }

    /// Goes on without the client that caused it, which follows from here on like the others: its place,
    /// and what relays to it.
    ///
    /// # Errors
    /// Itself, when the call is not shared.
    // Moved twice at most in the life of a stream.
    #[allow(clippy::result_large_err)]
    pub(crate) fn detach(self, ctx: &RequestContext) -> Result<(Follower, Relay), Self> {
        let (Some(leader), Some(fork)) = (&self.leader, self.relay.fork()) else {
            return Err(self);
        };
        let follower = (leader.join_as_owner(), fork);
        let core = Rc::clone(&self.core);
        core.unattended.set(core.unattended.get() + 1);
        let unattended = Unattended {
            shared_call: Arc::clone(leader.shared_call()),
            place: core.drain.enter(),
            core: Rc::clone(&core),
        };
        let task = go_on(self, unattended, ctx.identity.key, ctx.route.model);
        spawn::spawn(task, move |message| {
            core.metrics.borrow_mut().process.panics.increment();
            eprintln!("ringside: a shared stream ended by a panic: {message}");
        });
        Ok(follower)
    }
}

/// Moves a stream on for its followers, as long as there are any.
async fn go_on(
    mut upstream_stream: UpstreamStream,
    mut unattended: Unattended,
    key: Option<Name>,
    model: Option<Name>,
) {
    let mut unused = Vec::new();
    let end = loop {
        if let Some(end) = upstream_stream.ended() {
            break end;
        }
        poll_fn(|cx| unattended.shared_call.poll_reader_near(cx)).await;
        if let Err(end) = upstream_stream.read(&mut unattended).await {
            break end;
        }
        upstream_stream.take_in(false, &mut unused);
        unused.clear();
    };
    let (core, billed_usage) = (Rc::clone(&unattended.core), upstream_stream.billed_usage());
    let charge = Charge::of(
        billed_usage,
        Some(upstream_stream.target()),
        &core.snapshot().prices,
    );
    let pays = upstream_stream.finish(&end, &mut unattended.place).await;
    if let Some(model) = model.filter(|_| pays) {
        record_usage(
            &mut core.metrics.borrow_mut(),
            key,
            model,
            billed_usage,
            &charge,
        );
    }
}

/// Whether a stream without its client is to go on.
struct Unattended {
    shared_call: Arc<SharedCall>,
    place: ConnectionGuard,
    core: Rc<Core>,
}

impl Interrupt for Unattended {
    fn poll_interrupt(&mut self, cx: &mut Context<'_>) -> Poll<Interruption> {
        if self.shared_call.poll_no_followers(cx).is_ready() {
            return Poll::Ready(Interruption::ClientGone);
        }
        self.place.poll_interrupt(cx)
    }
}

impl Drop for Unattended {
    fn drop(&mut self) {
        let unattended = &self.core.unattended;
        unattended.set(unattended.get().saturating_sub(1));
    }
}

/// Appends what arrived as one chunk, and the end of the body when the stream is over. False when an
/// event is too large.
pub(crate) fn append_events(
    core: &Core,
    relay: &mut Relay,
    mut watch: impl FnMut(&[u8], Option<Range<usize>>),
    arrived: &mut Vec<u8>,
    is_last: bool,
    chunked: bool,
    out: &mut Vec<u8>,
) -> bool {
    let mark = chunked.then(|| encode::begin_chunk(out));
    let fed = relay.feed(arrived, out, &core.scratch, &mut watch).is_ok();
    if is_last {
        relay.end(out, &core.scratch, &mut watch);
    }
    let is_over = relay.is_done() || (is_last && (relay.is_complete() || relay.has_failed()));
    if fed && is_over {
        relay.close(out);
    }
    if let Some(mark) = mark {
        encode::finish_chunk(out, mark);
    }
    if chunked && fed && is_over {
        encode::last_chunk(out);
    }
    fed
}

/// Reads the little that may follow `[DONE]`, so that the connection can be reused.
async fn finish_upstream(
    core: &Core,
    mut response: StreamingResponse,
    client: &mut impl Interrupt,
) {
    if !response.is_done {
        let mut rest = Vec::new();
        let by = clock::now() + TAIL;
        let _ = response.upstream_response.read(&mut rest, by, client).await;
    }
    response
        .upstream_response
        .finish(&response.backend.endpoint, &core.pool);
}
