//! Reads a stream of `chat.completion.chunk` events into neutral events.

use crate::http::sse::{EventTooLong, SseSplitter};
use crate::protocols::json::document::{Document, Scratch};
use crate::protocols::neutral::event::{Delta, Event, Kind, Start};
use crate::protocols::neutral::response::Stop;
use crate::protocols::openai::provider::response::{THOUGHTS, read_error, stop, usage};
use crate::protocols::provider_api::{Decoder, Sink, event_json, not_json};

#[derive(Default)]
pub(crate) struct Chunks {
    splitter: SseSplitter,
    started: bool,
    /// A finish reason was received.
    finished: bool,
    ended: bool,
    parts: usize,
    open: Vec<Open>,
    /// The choices that called tools.
    callers: Vec<u64>,
    /// Refusal text was received.
    refused: bool,
}

/// A part that was started.
struct Open {
    choice: u64,
    what: What,
    part: usize,
    /// Its end event was emitted.
    is_ended: bool,
}

impl Open {
    /// Emits the end event of the part once.
    fn end(&mut self, sink: &mut dyn FnMut(&Event<'_>)) {
        if !std::mem::replace(&mut self.is_ended, true) {
            sink(&Event::PartEnd { part: self.part });
        }
    }
}

/// The key that distinguishes the parts of one choice.
#[derive(Clone, Copy, PartialEq, Eq)]
enum What {
    Text,
    Refusal,
    Thinking,
    /// The tool call with this `index`.
    Call(u64),
}

/// Most open parts at once; more would be malformed.
const OPEN_MAX: usize = 512;

impl Decoder for Chunks {
    fn next_frame(&mut self, buffer: &[u8]) -> Result<Option<usize>, EventTooLong> {
        self.splitter.next_event(buffer)
    }

    fn frame(&mut self, frame: &[u8], scratch: &mut Scratch, sink: Sink<'_>) {
        if self.ended {
            return;
        }
        let Some(data) = event_json(frame) else {
            sink(&Event::Heartbeat);
            return;
        };
        if data.trim_ascii() == b"[DONE]" {
            self.finish(sink);
            return;
        }
        let read = scratch.with_document(&data, |document| self.chunk(document, sink));
        if read.is_err() {
            self.ended = true;
            sink(&Event::Error(not_json()));
        }
    }

    fn end(&mut self, sink: Sink<'_>) {
        if self.finished && !self.ended {
            self.finish(sink);
        }
    }
}

impl Chunks {
    fn finish(&mut self, sink: Sink<'_>) {
        self.ended = true;
        for mut open in self.open.drain(..) {
            open.end(sink);
        }
        sink(&Event::End);
    }

    fn chunk(&mut self, document: &Document<'_>, sink: Sink<'_>) {
        if document.raw_of(0, "error").is_some() {
            self.ended = true;
            sink(&Event::Error(read_error(502, document)));
            return;
        }
        let choices = document.field(0, "choices");
        let mut choices = choices.and_then(|at| document.elements(at)).into_iter();
        let mut choices = choices.by_ref().flatten().peekable();
        // Azure first sends an event about filters, without choices.
        if !self.started && choices.peek().is_some() {
            self.started = true;
            let text = |name| document.text_of(0, name).unwrap_or_default();
            sink(&Event::Start(Start {
                id: text("id"),
                model: text("model"),
                created: document.unsigned_of(0, "created"),
                usage: None,
            }));
        }
        for choice in choices {
            self.choice(document, choice, sink);
        }
        if let Some(usage) = usage(document) {
            sink(&Event::Usage(usage));
        }
    }

    fn choice(&mut self, document: &Document<'_>, at: usize, sink: Sink<'_>) {
        let choice = document.unsigned_of(at, "index").unwrap_or(0);
        if let Some(delta) = document.field(at, "delta") {
            self.delta(document, choice, delta, sink);
        }
        if let Some(raw) = document.raw_of(at, "logprobs") {
            sink(&Event::Logprobs { choice, raw });
        }
        if let Some(reason) = document.text_of(at, "finish_reason") {
            self.finished = true;
            self.close(choice, sink);
            sink(&Event::Stop {
                choice,
                reason: match self.refused {
                    true => Stop::Refused,
                    false => stop(reason, self.callers.contains(&choice)),
                },
                sequence: None,
            });
        }
    }

    fn delta(&mut self, document: &Document<'_>, choice: u64, delta: usize, sink: Sink<'_>) {
        let text = |name| {
            document
                .text_of(delta, name)
                .filter(|text| !text.is_empty())
        };
        let thought = THOUGHTS.iter().find_map(|name| text(name));
        self.refused |= text("refusal").is_some();
        for (what, kind, more) in [
            (What::Thinking, Kind::Thinking, thought),
            (What::Text, Kind::Text, text("content")),
            (What::Refusal, Kind::Refusal, text("refusal")),
        ] {
            if let Some(more) = more {
                let part = self.part(choice, what, kind, sink);
                sink(&Event::Delta {
                    part,
                    delta: Delta::Text(more),
                });
            }
        }
        let calls = document.field(delta, "tool_calls");
        let calls = calls.and_then(|at| document.elements(at));
        for call in calls.into_iter().flatten() {
            self.call(document, choice, call, sink);
        }
    }

    fn call(&mut self, document: &Document<'_>, choice: u64, call: usize, sink: Sink<'_>) {
        let index = document.unsigned_of(call, "index").unwrap_or(0);
        let function = document.field(call, "function");
        let text = |name| function.and_then(|at| document.text_of(at, name));
        let kind = Kind::ToolCall {
            id: document.text_of(call, "id").unwrap_or_default(),
            name: text("name").unwrap_or_default(),
        };
        if !self.callers.contains(&choice) && self.callers.len() < OPEN_MAX {
            self.callers.push(choice);
        }
        let part = self.part(choice, What::Call(index), kind, sink);
        if let Some(more) = text("arguments").filter(|more| !more.is_empty()) {
            sink(&Event::Delta {
                part,
                delta: Delta::Arguments(more),
            });
        }
    }

    /// The open part of this kind; begins it if necessary. Beginning a part ends the other parts of the choice. Tool
    /// calls stay known, because their deltas may interleave.
    fn part(&mut self, choice: u64, what: What, kind: Kind<'_>, sink: Sink<'_>) -> usize {
        let is_it = |open: &&Open| open.choice == choice && open.what == what;
        if let Some(open) = self.open.iter().find(is_it) {
            return open.part;
        }
        let own = |open: &&mut Open| open.choice == choice;
        for open in self.open.iter_mut().filter(own) {
            open.end(sink);
        }
        let is_call = |open: &Open| matches!(open.what, What::Call(_));
        self.open
            .retain(|open| open.choice != choice || is_call(open));
        let part = self.parts;
        self.parts += 1;
        if self.open.len() < OPEN_MAX {
            self.open.push(Open {
                choice,
                what,
                part,
                is_ended: false,
            });
        }
        sink(&Event::PartStart { part, choice, kind });
        part
    }

    fn close(&mut self, choice: u64, sink: Sink<'_>) {
        let own = |open: &&mut Open| open.choice == choice;
        for open in self.open.iter_mut().filter(own) {
            open.end(sink);
        }
        self.open.retain(|open| open.choice != choice);
    }
}
