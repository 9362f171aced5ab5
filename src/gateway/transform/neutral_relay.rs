//! Relays a stream by way of neutral events: because it is translated into another format, or because its own format
//! reports usage and end differently from OpenAI's.

use crate::cache::response::from_events::ResponseCollector;
use crate::gateway::transform::json_array::JsonArray;
use crate::gateway::transform::stream_relay::EventTooLarge;
use crate::gateway::transform::translate_body::STOP_FAILED;
use crate::protocols::client_api::Encoder;
use crate::protocols::json::document::Scratch;
use crate::protocols::neutral::event::{Delta, Event};
use crate::protocols::neutral::response::{ProviderError, Stop};
use crate::protocols::provider_api::{Decoder, ProviderApi};
use crate::protocols::request::request_shape::BYTES_PER_TOKEN;
use crate::protocols::usage::Usage;

/// One relayed stream.
pub struct NeutralRelay {
    decoder: Box<dyn Decoder>,
    /// Writes the client's format; `None` if that is the provider's: events are forwarded as they arrived.
    encoder: Option<Box<dyn Encoder>>,
    collector: Option<ResponseCollector>,
    /// The model that the client sees, if the provider does not name one.
    model: String,
    /// Bytes of a frame that is not complete yet.
    pending: Vec<u8>,
    seen: SeenEvents,
    /// The client gets its events as one array.
    array: Option<JsonArray>,
    /// The format of the stream, if it is forwarded: then another relay can go on with it.
    native_api: Option<&'static dyn ProviderApi>,
    begin: Begin,
}

/// Where in the stream a relay began.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Begin {
    AtStart,
    /// Usage and completeness of the stream are not known from what follows.
    InTheMiddle,
}

/// What the events have reported.
#[derive(Default)]
struct SeenEvents {
    usage: Option<Usage>,
    progress: StreamProgress,
    frames: u64,
    /// Deltas of text and of arguments, and their bytes.
    deltas: u64,
    delta_bytes: u64,
}

/// What the events have said about the end of the stream.
#[derive(Clone, Copy, Default)]
struct StreamProgress {
    has_stop_reason: bool,
    /// Nothing follows.
    is_done: bool,
    has_failed: bool,
}

impl SeenEvents {
    fn note(&mut self, event: &Event<'_>) {
        match event {
            Event::Usage(usage) => self.usage = Some(*usage),
            Event::Stop { .. } => self.progress.has_stop_reason = true,
            Event::Delta {
                delta: Delta::Text(delta) | Delta::Arguments(delta),
                ..
            } => {
                self.deltas += 1;
                self.delta_bytes += delta.len() as u64;
            }
            Event::End => self.progress.is_done = true,
            Event::Error(_) => {
                self.progress.has_failed = true;
                self.progress.is_done = true;
            }
            _ => {}
        }
    }
}

/// The error that represents [`Stop::Failed`] in a format without such a stop reason.
fn stop_failed() -> ProviderError<'static> {
    ProviderError {
        status: 502,
        message: STOP_FAILED.into(),
        kind: None,
        param: None,
        window_exceeded: false,
    }
}

impl NeutralRelay {
    /// Writes with `encoder`, or forwards what arrives.
    #[must_use]
    pub fn new(
        decoder: Box<dyn Decoder>,
        encoder: Option<Box<dyn Encoder>>,
        collector: Option<ResponseCollector>,
    ) -> Self {
        Self {
            decoder,
            encoder,
            collector,
            model: String::new(),
            pending: Vec::new(),
            seen: SeenEvents::default(),
            array: None,
            native_api: None,
            begin: Begin::AtStart,
        }
    }

    /// Forwards a stream in the format of `native_api`.
    #[must_use]
    pub fn forward(
        native_api: &'static dyn ProviderApi,
        collector: Option<ResponseCollector>,
    ) -> Self {
        Self {
            native_api: Some(native_api),
            ..Self::new(native_api.decoder(), None, collector)
        }
    }

    /// Another relay for the same stream, from the next frame on. It cannot know the usage of the stream, nor by
    /// itself whether it is complete. `None` if the stream is translated.
    #[must_use]
    pub fn fork(&self) -> Option<Self> {
        Some(Self {
            begin: Begin::InTheMiddle,
            seen: SeenEvents {
                progress: self.seen.progress,
                ..SeenEvents::default()
            },
            ..Self::forward(self.native_api?, None)
        })
    }

    /// Sets the model that the client sees if the provider does not name one.
    #[must_use]
    pub fn with_model(self, model: String) -> Self {
        Self { model, ..self }
    }

    /// Sends the events as elements of one array.
    pub fn set_array(&mut self) {
        self.array = Some(JsonArray::default());
    }

    /// How much of the array was written.
    #[must_use]
    pub fn array(&self) -> Option<JsonArray> {
        self.array
    }

    /// Appends the end of the array, if there is one.
    pub fn close(&mut self, out: &mut Vec<u8>) {
        if let Some(array) = &mut self.array {
            array.end(out);
        }
    }

    /// Takes in what arrived (emptied) and appends what the client gets.
    ///
    /// # Errors
    /// One event exceeds the limit.
    pub fn feed(
        &mut self,
        arrived: &mut Vec<u8>,
        out: &mut Vec<u8>,
        scratch: &mut Scratch,
    ) -> Result<(), EventTooLarge> {
        self.feed_observed(arrived, out, scratch, |_| {})
    }

    /// The same; `observe` is called with each frame as it arrived.
    ///
    /// # Errors
    /// One event exceeds the limit.
    pub fn feed_observed(
        &mut self,
        arrived: &mut Vec<u8>,
        out: &mut Vec<u8>,
        scratch: &mut Scratch,
        mut observe: impl FnMut(&[u8]),
    ) -> Result<(), EventTooLarge> {
        let written_from = out.len();
        self.pending.append(arrived);
        let pending = std::mem::take(&mut self.pending);
        let mut from = 0;
        let outcome = loop {
            let rest = pending.get(from..).unwrap_or_default();
            match self.decoder.next_frame(rest) {
                Ok(Some(length)) => {
                    let frame = rest.get(..length).unwrap_or_default();
                    observe(frame);
                    self.frame(frame, out, scratch);
                    from += length;
                }
                Ok(None) => break Ok(()),
                Err(_) => break Err(EventTooLarge),
            }
        };
        self.pending = pending;
        self.pending.drain(..from);
        self.rewrite(out, written_from);
        outcome
    }

    /// The provider's body ended: a last event without its blank line still counts.
    pub fn end(&mut self, out: &mut Vec<u8>, scratch: &mut Scratch) {
        self.end_observed(out, scratch, |_| {});
    }

    /// The same; `observe` is called with that event.
    pub fn end_observed(
        &mut self,
        out: &mut Vec<u8>,
        scratch: &mut Scratch,
        mut observe: impl FnMut(&[u8]),
    ) {
        let written_from = out.len();
        if !self.pending.trim_ascii().is_empty() {
            let mut last = std::mem::take(&mut self.pending);
            last.extend_from_slice(b"\n\n");
            observe(&last);
            self.frame(&last, out, scratch);
        }
        self.decode(out, |decoder, sink| decoder.end(sink));
        self.rewrite(out, written_from);
    }

    fn rewrite(&mut self, out: &mut Vec<u8>, from: usize) {
        if let Some(array) = &mut self.array {
            array.rewrite(out, from);
        }
    }

    fn frame(&mut self, frame: &[u8], out: &mut Vec<u8>, scratch: &mut Scratch) {
        self.seen.frames += 1;
        if self.encoder.is_none() {
            out.extend_from_slice(frame);
        }
        self.decode(out, |decoder, sink| decoder.frame(frame, scratch, sink));
    }

    fn decode(
        &mut self,
        out: &mut Vec<u8>,
        decode: impl FnOnce(&mut dyn Decoder, &mut dyn FnMut(&Event<'_>)),
    ) {
        let Self {
            decoder,
            encoder,
            collector,
            seen,
            model,
            ..
        } = self;
        decode(&mut **decoder, &mut |event| {
            let translates = encoder.is_some();
            if translates && seen.progress.has_failed {
                return;
            }
            let named;
            let event = match event {
                Event::Start(start) => {
                    let mut start = start.bounded();
                    if start.model.is_empty() {
                        start.model = model;
                    }
                    named = Event::Start(start);
                    &named
                }
                event => event,
            };
            // The client's format may have no word for this reason: it is an error there.
            let failed = match event {
                Event::Stop {
                    reason: Stop::Failed,
                    ..
                } if translates => Some(Event::Error(stop_failed())),
                _ => None,
            };
            let event = failed.as_ref().unwrap_or(event);
            seen.note(event);
            if let Some(encoder) = encoder {
                encoder.event(event, out);
            }
            if let Some(collector) = collector {
                collector.event(event);
            }
        });
    }

    /// Whether the stream came to its end, without an error.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        let StreamProgress {
            has_stop_reason,
            is_done,
            has_failed,
        } = self.seen.progress;
        (is_done || has_stop_reason || self.begin == Begin::InTheMiddle) && !has_failed
    }

    /// Whether the provider reported by an event that it failed.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.seen.progress.has_failed
    }

    /// Whether nothing follows.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.seen.progress.is_done
    }

    /// The usage of the stream, once it is final.
    #[must_use]
    pub fn usage(&self) -> Option<Usage> {
        // What a provider reports before the end is not the final usage.
        let is_final = self.seen.progress.has_stop_reason && self.begin == Begin::AtStart;
        self.seen.usage.filter(|_| is_final)
    }

    /// Estimated completion tokens until now, for a stream that reports no usage.
    #[must_use]
    pub fn tokens_estimated(&self) -> u64 {
        let by_bytes = self.seen.delta_bytes.div_ceil(BYTES_PER_TOKEN);
        self.seen.deltas.max(by_bytes)
    }

    /// Frames that have arrived.
    #[must_use]
    pub fn events(&self) -> u64 {
        self.seen.frames
    }

    /// The collected response, for the cache.
    pub fn take_collector(&mut self) -> Option<ResponseCollector> {
        self.collector.take()
    }
}
