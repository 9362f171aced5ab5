//! Reads a stream of Message events into neutral events.

use crate::http::sse::{EventTooLong, SseSplitter};
use crate::protocols::anthropic::provider::response::{Counted, read_error, stop};
use crate::protocols::json::document::{Document, Scratch};
use crate::protocols::neutral::event::{Delta, Event, Kind, Start};
use crate::protocols::provider_api::{Decoder, Sink, event_json, not_json};

#[derive(Default)]
pub(crate) struct Blocks {
    splitter: SseSplitter,
    counted: Counted,
    /// A stop reason was received.
    finished: bool,
    ended: bool,
}

impl Decoder for Blocks {
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
        let read = scratch.with_document(&data, |document| self.event(document, sink));
        if read.is_err() {
            self.ended = true;
            sink(&Event::Error(not_json()));
        }
    }

    fn end(&mut self, sink: Sink<'_>) {
        if self.finished && !self.ended {
            self.ended = true;
            sink(&Event::End);
        }
    }
}

impl Blocks {
    fn event(&mut self, document: &Document<'_>, sink: Sink<'_>) {
        let part = || usize::try_from(document.unsigned_of(0, "index").unwrap_or(0)).unwrap_or(0);
        match document.text_of(0, "type").unwrap_or_default() {
            "content_block_delta" => {
                let delta = document.field(0, "delta");
                if let Some(delta) = delta.and_then(|at| read_delta(document, at)) {
                    let part = part();
                    sink(&Event::Delta { part, delta });
                }
            }
            "content_block_start" => {
                if let Some(block) = document.field(0, "content_block") {
                    begin_block(document, block, part(), sink);
                }
            }
            "content_block_stop" => sink(&Event::PartEnd { part: part() }),
            "message_start" => self.start(document, sink),
            "message_delta" => self.message_delta(document, sink),
            "message_stop" => {
                self.ended = true;
                sink(&Event::End);
            }
            "ping" => sink(&Event::Heartbeat),
            "error" => {
                self.ended = true;
                sink(&Event::Error(read_error(0, document)));
            }
            // Unknown events: Anthropic tells clients to ignore them.
            _ => {}
        }
    }

    fn start(&mut self, document: &Document<'_>, sink: Sink<'_>) {
        let Some(message) = document.field(0, "message") else {
            return;
        };
        let usage = document.field(message, "usage").map(|at| {
            self.counted.take(document, at);
            self.counted.sum()
        });
        let text = |name| document.text_of(message, name).unwrap_or_default();
        sink(&Event::Start(Start {
            id: text("id"),
            model: text("model"),
            created: None,
            usage,
        }));
        if let Some(usage) = usage {
            sink(&Event::Usage(usage));
        }
    }

    fn message_delta(&mut self, document: &Document<'_>, sink: Sink<'_>) {
        if let Some(at) = document.field(0, "usage") {
            self.counted.take(document, at);
            sink(&Event::Usage(self.counted.sum()));
        }
        let Some(delta) = document.field(0, "delta") else {
            return;
        };
        if let Some(reason) = document.text_of(delta, "stop_reason") {
            self.finished = true;
            sink(&Event::Stop {
                choice: 0,
                reason: stop(reason),
                sequence: document.text_of(delta, "stop_sequence"),
            });
        }
    }
}

fn begin_block(document: &Document<'_>, block: usize, part: usize, sink: Sink<'_>) {
    let text = |name| document.text_of(block, name).unwrap_or_default();
    let (kind, first) = match text("type") {
        "text" => (Kind::Text, Delta::Text(text("text"))),
        "thinking" => (Kind::Thinking, Delta::Text(text("thinking"))),
        "redacted_thinking" => (Kind::Redacted { data: text("data") }, Delta::Text("")),
        "tool_use" => {
            let kind = Kind::ToolCall {
                id: text("id"),
                name: text("name"),
            };
            // Some compatible servers send the arguments of a call at once.
            let input = document.raw_of(block, "input").unwrap_or_default();
            let input = if input == "{}" { "" } else { input };
            (kind, Delta::Arguments(input))
        }
        _ => (Kind::Other, Delta::Text("")),
    };
    sink(&Event::PartStart {
        part,
        choice: 0,
        kind,
    });
    if !matches!(first, Delta::Text("") | Delta::Arguments("")) {
        sink(&Event::Delta { part, delta: first });
    }
}

fn read_delta<'d>(document: &Document<'d>, at: usize) -> Option<Delta<'d>> {
    let text = |name| document.text_of(at, name);
    match text("type")? {
        "text_delta" => text("text").map(Delta::Text),
        "thinking_delta" => text("thinking").map(Delta::Text),
        "input_json_delta" => text("partial_json").map(Delta::Arguments),
        "signature_delta" => text("signature").map(Delta::Signature),
        "citations_delta" => document.raw_of(at, "citation").map(Delta::Citation),
        _ => None,
    }
}
