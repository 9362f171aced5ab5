//! Reads a stream of chat events into neutral events. Each part ends before the next begins.

use crate::http::sse::{EventTooLong, SseSplitter};
use crate::protocols::cohere::provider::response::{stop, usage};
use crate::protocols::json::document::{Document, Scratch};
use crate::protocols::neutral::event::{Delta, Event, Kind, Start};
use crate::protocols::neutral::response::ProviderError;
use crate::protocols::provider_api::{Decoder, Sink, event_json, message_of, not_json};

#[derive(Default)]
pub(crate) struct Events {
    splitter: SseSplitter,
    ended: bool,
    parts: usize,
    /// The open part: its kind and number.
    open: Option<(What, usize)>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum What {
    Text,
    Thought,
    Plan,
    Call,
}

impl Decoder for Events {
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
            return;
        }
        let read = scratch.with_document(&data, |document| self.event(document, sink));
        if read.is_err() {
            self.ended = true;
            sink(&Event::Error(not_json()));
        }
    }

    /// The last event marks itself as the last.
    fn end(&mut self, _sink: Sink<'_>) {}
}

impl Events {
    fn event(&mut self, document: &Document<'_>, sink: Sink<'_>) {
        let delta = document.field(0, "delta");
        let message = delta.and_then(|at| document.field(at, "message"));
        let inner = |name| message.and_then(|at| document.field(at, name));
        match document.text_of(0, "type").unwrap_or_default() {
            "content-start" | "content-delta" => {
                if let Some(at) = inner("content") {
                    self.content(document, at, sink);
                }
            }
            "tool-plan-delta" => {
                let text = message.and_then(|at| document.text_of(at, "tool_plan"));
                self.words(What::Plan, Kind::Thinking, text.unwrap_or_default(), sink);
            }
            "tool-call-start" => {
                if let Some(call) = inner("tool_calls").map(|at| first_or_self(document, at)) {
                    self.call(document, call, sink);
                }
            }
            "tool-call-delta" => {
                let call = inner("tool_calls").map(|at| first_or_self(document, at));
                let function = call.and_then(|at| document.field(at, "function"));
                let more = function.and_then(|at| document.text_of(at, "arguments"));
                self.arguments(more.unwrap_or_default(), sink);
            }
            "content-end" | "tool-call-end" => self.close(sink),
            "message-start" => sink(&Event::Start(Start {
                id: document.text_of(0, "id").unwrap_or_default(),
                ..Start::default()
            })),
            "message-end" => self.finish(document, delta.unwrap_or(0), sink),
            // Citations and unknown events. An error has no type.
            "" => self.fail(document, 0, sink),
            _ => {}
        }
    }

    fn content(&mut self, document: &Document<'_>, at: usize, sink: Sink<'_>) {
        match document.text_of(at, "thinking") {
            Some(thought) => self.words(What::Thought, Kind::Thinking, thought, sink),
            None => {
                let words = document.text_of(at, "text").unwrap_or_default();
                self.words(What::Text, Kind::Text, words, sink);
            }
        }
    }

    /// Emits a piece of text, and begins its part if necessary; an empty piece begins none.
    fn words(&mut self, what: What, kind: Kind<'_>, more: &str, sink: Sink<'_>) {
        if more.is_empty() {
            return;
        }
        let part = match self.open {
            Some((open, part)) if open == what => part,
            _ => self.begin(what, kind, sink),
        };
        let delta = Delta::Text(more);
        sink(&Event::Delta { part, delta });
    }

    fn call(&mut self, document: &Document<'_>, call: usize, sink: Sink<'_>) {
        let function = document.field(call, "function");
        let text = |name| function.and_then(|at| document.text_of(at, name));
        let kind = Kind::ToolCall {
            id: document.text_of(call, "id").unwrap_or_default(),
            name: text("name").unwrap_or_default(),
        };
        self.begin(What::Call, kind, sink);
        self.arguments(text("arguments").unwrap_or_default(), sink);
    }

    fn arguments(&mut self, more: &str, sink: Sink<'_>) {
        if let Some((What::Call, part)) = self.open
            && !more.is_empty()
        {
            let delta = Delta::Arguments(more);
            sink(&Event::Delta { part, delta });
        }
    }

    fn begin(&mut self, what: What, kind: Kind<'_>, sink: Sink<'_>) -> usize {
        self.close(sink);
        let part = self.parts;
        self.parts += 1;
        self.open = Some((what, part));
        sink(&Event::PartStart {
            part,
            choice: 0,
            kind,
        });
        part
    }

    fn close(&mut self, sink: Sink<'_>) {
        if let Some((_, part)) = self.open.take() {
            sink(&Event::PartEnd { part });
        }
    }

    fn finish(&mut self, document: &Document<'_>, delta: usize, sink: Sink<'_>) {
        let reason = document.text_of(delta, "finish_reason").unwrap_or_default();
        let Some(reason) = stop(reason) else {
            self.fail(document, delta, sink);
            return;
        };
        self.close(sink);
        sink(&Event::Stop {
            choice: 0,
            reason,
            sequence: None,
        });
        if let Some(usage) = usage(document, delta) {
            sink(&Event::Usage(usage));
        }
        self.ended = true;
        sink(&Event::End);
    }

    fn fail(&mut self, document: &Document<'_>, at: usize, sink: Sink<'_>) {
        self.ended = true;
        let message = document.text_of(at, "error");
        sink(&Event::Error(ProviderError {
            status: 502,
            message: message.map_or_else(|| message_of(document), Into::into),
            kind: document.text_of(at, "finish_reason"),
            param: None,
            window_exceeded: false,
        }));
    }
}

/// The tool call: a single one, or the first of a list.
fn first_or_self(document: &Document<'_>, at: usize) -> usize {
    let first = document.elements(at).and_then(|mut all| all.next());
    first.unwrap_or(at)
}
