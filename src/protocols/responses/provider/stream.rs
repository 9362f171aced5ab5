//! Reads a stream of Responses' typed events into neutral events.

use crate::http::sse::{EventTooLong, SseSplitter};
use crate::protocols::json::document::{Document, Scratch};
use crate::protocols::neutral::event::{Delta, Event, Kind, Start};
use crate::protocols::neutral::response::ProviderError;
use crate::protocols::provider_api::{Decoder, Sink, event_json, message_of, not_json};
use crate::protocols::responses::provider::response::{stop, usage};
use std::borrow::Cow;

#[derive(Default)]
pub(crate) struct Items {
    splitter: SseSplitter,
    started: bool,
    ended: bool,
    has_calls: bool,
    parts: usize,
    open: Vec<Open>,
}

/// An open part: its item, its index in the item, its number.
struct Open {
    item: u64,
    index: u64,
    part: usize,
}

/// Most open parts at once; more would be malformed.
const OPEN_MAX: usize = 512;

impl Decoder for Items {
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
        // Some compatible servers end the stream as for chat completions.
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

impl Items {
    fn event(&mut self, document: &Document<'_>, sink: Sink<'_>) {
        let text = |name| document.text_of(0, name).unwrap_or_default();
        let response = document.field(0, "response").unwrap_or(0);
        match text("type") {
            "response.output_text.delta" => {
                self.piece(document, Kind::Text, Delta::Text(text("delta")), sink);
            }
            "response.refusal.delta" => {
                self.piece(document, Kind::Refusal, Delta::Text(text("delta")), sink);
            }
            "response.reasoning_summary_text.delta" | "response.reasoning_text.delta" => {
                self.piece(document, Kind::Thinking, Delta::Text(text("delta")), sink);
            }
            "response.function_call_arguments.delta" => {
                let piece = Delta::Arguments(text("delta"));
                self.piece(document, Kind::Other, piece, sink);
            }
            "response.output_item.added" => self.item_begins(document, sink),
            "response.output_item.done" => self.item_ends(document, sink),
            "response.created" => self.start(document, response, sink),
            "response.completed" | "response.incomplete" => self.finish(document, response, sink),
            "response.failed" => {
                let error = document.field(response, "error").unwrap_or(response);
                let message = document.text_of(error, "message");
                let code = document.text_of(error, "code");
                self.fail(code, message.unwrap_or("the response failed").into(), sink);
            }
            "error" => {
                let error = document.field(0, "error").unwrap_or(0);
                let code = document.text_of(error, "code");
                self.fail(code, message_of(document), sink);
            }
            // Events that repeat earlier content, and unknown events.
            _ => {}
        }
    }

    fn start(&mut self, document: &Document<'_>, response: usize, sink: Sink<'_>) {
        if std::mem::replace(&mut self.started, true) {
            return;
        }
        let text = |name| document.text_of(response, name).unwrap_or_default();
        sink(&Event::Start(Start {
            id: text("id"),
            model: text("model"),
            created: document.unsigned_of(response, "created_at"),
            usage: None,
        }));
    }

    fn finish(&mut self, document: &Document<'_>, response: usize, sink: Sink<'_>) {
        for open in self.open.drain(..) {
            sink(&Event::PartEnd { part: open.part });
        }
        sink(&Event::Stop {
            choice: 0,
            reason: stop(document, response, self.has_calls),
            sequence: None,
        });
        if let Some(usage) = usage(document, response) {
            sink(&Event::Usage(usage));
        }
        self.ended = true;
        sink(&Event::End);
    }

    fn fail(&mut self, code: Option<&str>, message: Cow<'_, str>, sink: Sink<'_>) {
        self.ended = true;
        sink(&Event::Error(ProviderError {
            status: match code {
                Some("rate_limit_exceeded") => 429,
                Some("invalid_prompt") => 400,
                _ => 502,
            },
            message,
            kind: code,
            param: None,
            window_exceeded: false,
        }));
    }

    /// Emits a delta of a part, and begins the part if necessary. Only tool calls have an item event at their start.
    fn piece(&mut self, document: &Document<'_>, kind: Kind<'_>, delta: Delta<'_>, sink: Sink<'_>) {
        let count = |name| document.unsigned_of(0, name);
        let item = count("output_index").unwrap_or(0);
        let index = count("content_index").or_else(|| count("summary_index"));
        let index = index.unwrap_or(0);
        let known = self
            .open
            .iter()
            .find(|open| (open.item, open.index) == (item, index));
        let part = match known {
            Some(open) => open.part,
            None => self.begin(item, index, kind, sink),
        };
        if !matches!(delta, Delta::Text("") | Delta::Arguments("")) {
            sink(&Event::Delta { part, delta });
        }
    }

    fn begin(&mut self, item: u64, index: u64, kind: Kind<'_>, sink: Sink<'_>) -> usize {
        let part = self.parts;
        self.parts += 1;
        if self.open.len() < OPEN_MAX {
            self.open.push(Open { item, index, part });
        }
        sink(&Event::PartStart {
            part,
            choice: 0,
            kind,
        });
        part
    }

    fn item_begins(&mut self, document: &Document<'_>, sink: Sink<'_>) {
        let at = document.unsigned_of(0, "output_index").unwrap_or(0);
        let Some(item) = document.field(0, "item") else {
            return;
        };
        let text = |name| document.text_of(item, name).unwrap_or_default();
        if text("type") == "function_call" {
            self.has_calls = true;
            let kind = Kind::ToolCall {
                id: text("call_id"),
                name: text("name"),
            };
            self.begin(at, 0, kind, sink);
        }
    }

    /// The encrypted content of a thought arrives with its end.
    fn item_ends(&mut self, document: &Document<'_>, sink: Sink<'_>) {
        let at = document.unsigned_of(0, "output_index").unwrap_or(0);
        let item = document.field(0, "item").unwrap_or(0);
        let seal = document.text_of(item, "encrypted_content");
        if let Some(seal) = seal.filter(|seal| !seal.is_empty()) {
            match self.open.iter().rev().find(|open| open.item == at) {
                Some(open) => sink(&Event::Delta {
                    part: open.part,
                    delta: Delta::Signature(seal),
                }),
                None => {
                    self.begin(at, 0, Kind::Redacted { data: seal }, sink);
                }
            }
        }
        for open in self.open.iter().filter(|open| open.item == at) {
            sink(&Event::PartEnd { part: open.part });
        }
        self.open.retain(|open| open.item != at);
    }
}
