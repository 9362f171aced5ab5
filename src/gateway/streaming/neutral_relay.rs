//! A stream that is read event by event: because it is written anew in another dialect, or because its
//! own dialect says differently from OpenAI's what it cost and whether it ended.

use crate::cache::response::from_events::ResponseCollector;
use crate::gateway::streaming::json_array::JsonArray;
use crate::gateway::streaming::stream_relay::EventTooLarge;
use crate::gateway::streaming::translate_body::FAILED;
use crate::protocols::client_api::Encoder;
use crate::protocols::json::document::Scratch;
use crate::protocols::neutral::event::{Delta, Event, Start};
use crate::protocols::neutral::response::{Failure, Stop, Usage};
use crate::protocols::provider_api::{Decoder, ProviderApi};
use crate::protocols::request::request_shape::BYTES_PER_TOKEN;

/// State of one stream.
pub struct NeutralRelay {
    decoder: Box<dyn Decoder>,
    /// Writes the client's dialect; `None` if that is the provider's: events go on as they came.
    encoder: Option<Box<dyn Encoder>>,
    collector: Option<ResponseCollector>,
    /// Who answers, if the provider does not say.
    model: String,
    /// Bytes of a frame that is not complete yet.
    pending: Vec<u8>,
    seen: Seen,
    /// What the client gets is an array of events.
    pub(crate) array: Option<JsonArray>,
    /// Whose stream it is, where others may relay the same.
    speaker: Option<&'static dyn ProviderApi>,
    /// It began in the middle: it knows neither usage nor whether the stream is complete.
    is_late: bool,
}

/// What was seen.
#[derive(Default)]
struct Seen {
    usage: Option<Usage>,
    finished: bool,
    done: bool,
    failed: bool,
    events: u64,
    /// Pieces of text, thought and arguments, and their bytes.
    pieces: u64,
    piece_bytes: u64,
}

impl Seen {
    fn note(&mut self, event: &Event<'_>) {
        match event {
            Event::Usage(usage) => self.usage = Some(*usage),
            Event::Stop { .. } => self.finished = true,
            Event::Delta {
                delta: Delta::Text(piece) | Delta::Arguments(piece),
                ..
            } => {
                self.pieces += 1;
                self.piece_bytes += piece.len() as u64;
            }
            Event::End => self.done = true,
            Event::Failed(_) => {
                self.failed = true;
                self.done = true;
            }
            _ => {}
        }
    }
}

/// The failure that a model's useless answer is.
fn unusable() -> Failure<'static> {
    Failure {
        status: 502,
        message: FAILED.into(),
        kind: None,
        param: None,
        window_exceeded: false,
    }
}

impl NeutralRelay {
    /// A relay that writes with `encoder`, or passes on what came.
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
            seen: Seen::default(),
            array: None,
            speaker: None,
            is_late: false,
        }
    }

    /// A relay that passes on what came, a stream of `native_api`.
    #[must_use]
    pub fn of(speaker: &'static dyn ProviderApi, collector: Option<ResponseCollector>) -> Self {
        Self {
            speaker: Some(speaker),
            ..Self::new(speaker.decoder(), None, collector)
        }
    }

    /// Another relay for the same stream, from the next frame on; for who is told by others when it is
    /// complete, and what it cost. `None` if the stream is written anew.
    #[must_use]
    pub fn twin(&self) -> Option<Self> {
        let speaker = self.speaker?;
        let Seen {
            finished,
            done,
            failed,
            ..
        } = self.seen;
        Some(Self {
            is_late: true,
            seen: Seen {
                finished,
                done,
                failed,
                ..Seen::default()
            },
            ..Self::of(speaker, None)
        })
    }

    /// The same, saying `model` where the provider does not say who answers.
    #[must_use]
    pub fn naming(self, model: String) -> Self {
        Self { model, ..self }
    }

    /// Takes in what arrived (emptied) and appends what the client is to get.
    ///
    /// # Errors
    /// One event exceeds the limit.
    pub fn feed(
        &mut self,
        arrived: &mut Vec<u8>,
        out: &mut Vec<u8>,
        scratch: &mut Scratch,
    ) -> Result<(), EventTooLarge> {
        self.feed_shown(arrived, out, scratch, |_| {})
    }

    /// The same; `watch` is shown each frame as it came.
    ///
    /// # Errors
    /// As above.
    pub fn feed_shown(
        &mut self,
        arrived: &mut Vec<u8>,
        out: &mut Vec<u8>,
        scratch: &mut Scratch,
        mut watch: impl FnMut(&[u8]),
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
                    watch(frame);
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
        self.end_shown(out, scratch, |_| {});
    }

    /// The same; `watch` is shown that event.
    pub fn end_shown(
        &mut self,
        out: &mut Vec<u8>,
        scratch: &mut Scratch,
        mut watch: impl FnMut(&[u8]),
    ) {
        let written_from = out.len();
        if !self.pending.trim_ascii().is_empty() {
            let mut last = std::mem::take(&mut self.pending);
            last.extend_from_slice(b"\n\n");
            watch(&last);
            self.frame(&last, out, scratch);
        }
        self.read(out, |decoder, sink| decoder.end(sink));
        self.rewrite(out, written_from);
    }

    fn rewrite(&mut self, out: &mut Vec<u8>, from: usize) {
        if let Some(array) = &mut self.array {
            array.rewrite(out, from);
        }
    }

    fn frame(&mut self, frame: &[u8], out: &mut Vec<u8>, scratch: &mut Scratch) {
        self.seen.events += 1;
        if self.encoder.is_none() {
            out.extend_from_slice(frame);
        }
        self.read(out, |decoder, sink| decoder.frame(frame, scratch, sink));
    }

    fn read(
        &mut self,
        out: &mut Vec<u8>,
        read: impl FnOnce(&mut dyn Decoder, &mut dyn FnMut(&Event<'_>)),
    ) {
        let Self {
            decoder,
            encoder,
            collector,
            seen,
            model,
            ..
        } = self;
        read(&mut **decoder, &mut |event| {
            let translates = encoder.is_some();
            if translates && seen.failed {
                return;
            }
            let named;
            let event = match event {
                Event::Start(start) if start.model.is_empty() => {
                    named = Event::Start(Start { model, ..*start });
                    &named
                }
                event => event,
            };
            // What the caller's dialect has no word for is a failure there.
            let failed = match event {
                Event::Stop {
                    reason: Stop::Failed,
                    ..
                } if translates => Some(Event::Failed(unusable())),
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
        (self.seen.done || self.seen.finished || self.is_late) && !self.seen.failed
    }

    /// Whether the provider said itself that it failed.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.seen.failed
    }

    /// Whether nothing follows.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.seen.done
    }

    /// Usage seen so far.
    #[must_use]
    pub fn usage(&self) -> Option<Usage> {
        // What is said before the end is not yet what it cost.
        let usage = self.seen.usage.filter(|_| self.seen.finished);
        usage.filter(|_| !self.is_late)
    }

    /// Tokens that the stream may have had until now, for when nobody reports them.
    #[must_use]
    pub fn tokens_estimated(&self) -> u64 {
        let by_bytes = self.seen.piece_bytes.div_ceil(BYTES_PER_TOKEN);
        self.seen.pieces.max(by_bytes)
    }

    /// Frames seen so far.
    #[must_use]
    pub fn events(&self) -> u64 {
        self.seen.events
    }

    /// What collected the answer for the cache.
    pub fn take_collector(&mut self) -> Option<ResponseCollector> {
        self.collector.take()
    }
}
