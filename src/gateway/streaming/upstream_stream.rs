//! A stream on its way from upstream: relays it, shares it with followers, and at its end stores it and records its
//! outcome. It must not know how bytes reach the client.

use crate::accounting::billing::BilledUsage;
use crate::base::names::Name;
use crate::cache::coalesce::call_end::{End, Head};
use crate::cache::coalesce::shared_calls::Leader;
use crate::cache::response::from_stream::StreamReader;
use crate::gateway::attempt::response::StreamingResponse;
use crate::gateway::caching::session::CacheSession;
use crate::gateway::core::Core;
use crate::gateway::streaming::event_writer::{ArrivedEvents, Framing, append_events};
use crate::gateway::streaming::response_sinks::ResponseSinks;
use crate::gateway::streaming::stream_end::{StreamEnd, shutting_down};
use crate::gateway::transform::relay::Relay;
use crate::protocols::client_api::ClientApi;
use crate::protocols::registry;
use crate::protocols::request::chat_request::ChatRequest;
use crate::protocols::usage::Usage;
use crate::routing::health::Outcome;
use crate::routing::measurements::Series;
use crate::runtime::buffer;
use crate::runtime::clock;
use crate::runtime::io::Interrupt;
use crate::runtime::source::BodyProgress;
use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

/// How long the end of a body is waited for once `[DONE]` was relayed, so that the connection can be reused.
const TAIL_WAIT: Duration = Duration::from_millis(200);

pub(crate) struct UpstreamStream {
    pub core: Rc<Core>,
    response: Box<StreamingResponse>,
    /// Writes what the client that caused the call gets.
    pub relay: Relay,
    /// Estimated tokens of a prompt that is text only.
    prompt_tokens: Option<u64>,
    readers: StreamReaders,
    cache: CacheSession,
    /// `None` when the call is not shared.
    pub leader: Option<Leader>,
    /// Events that the followers get next.
    events: Vec<u8>,
    arrived: Vec<u8>,
    input: Input,
}

/// Read the response from the events of a stream in OpenAI's format.
#[derive(Default)]
struct StreamReaders {
    /// For the cache.
    cache: Option<StreamReader>,
    /// For the comparison with a mirror target.
    mirror: Option<StreamReader>,
}

/// What the body may still bring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Input {
    Open,
    /// The body has ended.
    Done,
    /// An event exceeded the limit: the stream cannot go on.
    EventTooLarge,
}

impl UpstreamStream {
    pub(crate) fn new(
        core: &Rc<Core>,
        mut response: Box<StreamingResponse>,
        client_api: &'static dyn ClientApi,
        chat: &ChatRequest,
        sinks: ResponseSinks<'_>,
        mirror_reader: Option<StreamReader>,
    ) -> Self {
        let ResponseSinks { cache, leader, .. } = sinks;
        if let Some(leader) = &leader {
            leader.begin(Head {
                target: response.target,
                status: response.upstream_response.status,
                forwarded: response.upstream_response.head.forwarded.clone(),
            });
        }
        let (relay, cache_reader) = if client_api == registry::DEFAULT {
            (Relay::openai(chat.wants_usage), cache.stream_reader())
        } else {
            (Relay::forward(client_api, cache.collector()), None)
        };
        Self {
            core: Rc::clone(core),
            relay,
            prompt_tokens: chat.shape.prompt_tokens(),
            readers: StreamReaders {
                cache: cache_reader,
                mirror: mirror_reader,
            },
            cache,
            leader,
            events: buffer::take(buffer::CLASS_BYTES[0]),
            arrived: std::mem::take(&mut response.first),
            input: if response.is_done {
                Input::Done
            } else {
                Input::Open
            },
            response,
        }
    }

    /// The target that responds.
    pub(crate) fn target(&self) -> Name {
        self.response.target
    }

    pub(crate) fn status(&self) -> u16 {
        self.response.upstream_response.status
    }

    /// Encoded header lines that are forwarded to the client.
    pub(crate) fn forwarded_headers(&self) -> &[u8] {
        &self.response.upstream_response.head.forwarded
    }

    /// The reader of a mirror's comparison, once the stream has ended.
    pub(crate) fn take_mirror_reader(&mut self) -> Option<StreamReader> {
        self.readers.mirror.take()
    }

    /// Resolves once there is a follower.
    pub(crate) fn poll_has_followers(&self, cx: &mut Context<'_>) -> Poll<()> {
        let leader = self.leader.as_ref();
        leader.map_or(Poll::Pending, |leader| leader.poll_has_followers(cx))
    }

    /// True when there are no followers; the call is closed to new ones in the same step.
    pub(crate) fn close_if_no_followers(&self) -> bool {
        let leader = self.leader.as_ref();
        leader.is_none_or(Leader::close_if_no_followers)
    }

    /// Takes in what arrived: hands it to the followers, and appends what the client gets.
    pub(crate) fn take_in(&mut self, framing: Framing, out: &mut Vec<u8>) {
        let is_translated = self.translate();
        let (readers, core) = (&mut self.readers, &self.core);
        let (events, is_shared) = (&mut self.events, self.leader.is_some());
        let observe = |event: &[u8], text: Option<Range<usize>>| {
            let StreamReaders { cache, mirror } = &mut *readers;
            for reader in [cache, mirror].into_iter().flatten() {
                // A relay of other formats, which has no readers, holds the scratch while it is fed.
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
        let arrived = ArrivedEvents {
            bytes: &mut self.arrived,
            is_last: self.input == Input::Done,
        };
        let fed = append_events(core, &mut self.relay, arrived, framing, out, observe);
        if !is_translated || fed.is_err() {
            self.input = Input::EventTooLarge;
        }
        if let Some(leader) = &self.leader {
            leader.append(&self.events);
            self.events.clear();
        }
    }

    /// Translates what arrived into the client's format, or seals its ids. False when an event is too large.
    fn translate(&mut self) -> bool {
        let is_last = self.input == Input::Done;
        if let Some(sealer) = &mut self.response.id_sealer {
            let mut scratch = self.core.scratch.borrow_mut();
            let fed = sealer.feed(&mut self.arrived, is_last, &mut scratch);
            return fed.is_ok();
        }
        let Some(translation) = &mut self.response.translation else {
            return true;
        };
        let mut scratch = self.core.scratch.borrow_mut();
        let mut translated = buffer::take(buffer::CLASS_BYTES[0]);
        let fed = translation.feed(&mut self.arrived, &mut translated, &mut scratch);
        if is_last {
            translation.end(&mut translated, &mut scratch);
        }
        buffer::give(std::mem::replace(&mut self.arrived, translated));
        fed.is_ok()
    }

    /// How the stream ended, if nothing follows what was taken in.
    pub(crate) fn ended(&self) -> Option<StreamEnd> {
        let is_over = match self.input {
            Input::EventTooLarge => return Some(StreamEnd::event_too_large()),
            Input::Done => true,
            Input::Open => self.relay.is_done(),
        };
        if !is_over {
            return None;
        }
        if self.relay.is_complete() || self.relay.has_failed() {
            return Some(StreamEnd::Complete);
        }
        Some(StreamEnd::truncated())
    }

    /// Waits for the next bytes.
    ///
    /// # Errors
    /// The provider broke off, or the wait was interrupted.
    pub(crate) async fn read(&mut self, interrupt: &mut impl Interrupt) -> Result<(), StreamEnd> {
        let by = clock::recent() + self.response.backend.endpoint.timeouts.read;
        let upstream = &mut self.response.upstream_response;
        let piece = upstream.read(&mut self.arrived, by, interrupt).await?;
        if piece == BodyProgress::Done {
            self.input = Input::Done;
        }
        Ok(())
    }

    /// The usage to bill until now. Without a report of the provider (it broke off, or the client left first) it is
    /// estimated, if the size of the prompt is known.
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

    /// Ends the stream: records the attempt's outcome, stores the response, ends the shared call. True when the caller
    /// is to record the usage.
    pub(crate) async fn finish(mut self, end: &StreamEnd, interrupt: &mut impl Interrupt) -> bool {
        self.end_attempt(end);
        let is_complete = matches!(end, StreamEnd::Complete);
        if is_complete {
            let target = self.response.target;
            let (reader, collector) = (self.readers.cache.take(), self.relay.take_collector());
            if let Some(reader) = reader {
                self.cache.store(target, |_| reader.finish());
            } else if let Some(collector) = collector {
                self.cache.store(target, |_| collector.finish());
            }
        }
        let usage = self.relay.usage();
        let records_usage = self
            .leader
            .is_none_or(|leader| leader.finish(call_end(end, usage)));
        buffer::give(self.arrived);
        buffer::give(self.events);
        if is_complete {
            finish_upstream(&self.core, *self.response, interrupt).await;
        }
        records_usage
    }

    fn end_attempt(&mut self, end: &StreamEnd) {
        let outcome = match end {
            StreamEnd::Complete if self.relay.has_failed() => Outcome::StreamBroke,
            StreamEnd::Complete => Outcome::Good,
            StreamEnd::Upstream(_) => Outcome::StreamBroke,
            StreamEnd::ClientGone | StreamEnd::TooSlow(_) | StreamEnd::Drained => {
                Outcome::Abandoned
            }
        };
        let guard = &mut self.response.attempt_guard;
        if let Some(usage) = self.relay.usage() {
            let from = self.response.upstream_response.first_byte_at;
            guard.generated(Series::FirstToken, usage.completion, from);
        }
        guard.end(&self.core, outcome);
    }
}

/// How a shared call ends with the stream of its leader.
fn call_end(end: &StreamEnd, usage: Option<Usage>) -> End {
    let failed = |error| End::Failed {
        error: Arc::new(error),
        should_retry: None,
    };
    match end {
        StreamEnd::Complete => End::Complete(usage),
        StreamEnd::Upstream(error) | StreamEnd::TooSlow(error) => failed(error.clone()),
        StreamEnd::Drained => failed(shutting_down()),
        StreamEnd::ClientGone => End::Lost,
    }
}

/// Reads the little that may follow `[DONE]`, so that the connection can be reused.
async fn finish_upstream(
    core: &Core,
    mut response: StreamingResponse,
    interrupt: &mut impl Interrupt,
) {
    if !response.is_done {
        let mut rest = Vec::new();
        let by = clock::now() + TAIL_WAIT;
        let upstream = &mut response.upstream_response;
        // A connection that does not end in time is closed instead of reused.
        let _ = upstream.read(&mut rest, by, interrupt).await;
    }
    response
        .upstream_response
        .finish(&response.backend.endpoint, &core.pool);
}
