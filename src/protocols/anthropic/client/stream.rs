//! Writes a stream of Message events from neutral events. Every event has an `event:` line, for clients that dispatch
//! on it.

use crate::protocols::anthropic::client::response::{
    write_call_id, write_id, write_provider_error, write_stop, write_usage,
};
use crate::protocols::client_api::{Encoder, ResponseContext};
use crate::protocols::json::write::{key, number, open_field, raw, text};
use crate::protocols::neutral::event::{Delta, Event, Kind, Start};
use crate::protocols::neutral::response::Stop;
use crate::protocols::usage::Usage;

pub(crate) struct Blocks {
    response_ctx: ResponseContext,
    started: bool,
    /// The block of each neutral part, by the number of the part.
    parts: Vec<Option<Block>>,
    blocks: usize,
    stop: Option<(Stop, Option<String>)>,
    usage: Usage,
}

/// A content block that was started.
#[derive(Clone, Copy)]
struct Block {
    index: usize,
    is_thinking: bool,
    is_open: bool,
}

/// Most parts of one stream whose state is stored; events of further parts are left out.
const PARTS_MAX: usize = 4096;

impl Blocks {
    #[must_use]
    pub(crate) fn new(response_ctx: ResponseContext) -> Self {
        Self {
            response_ctx,
            started: false,
            parts: Vec::new(),
            blocks: 0,
            stop: None,
            usage: Usage::default(),
        }
    }

    fn start(&mut self, start: &Start<'_>, out: &mut Vec<u8>) {
        self.started = true;
        self.usage = start.usage.unwrap_or_default();
        begin(out, "message_start");
        open_field(out, "message", b'{');
        key(out, "id");
        write_id(start.id, &self.response_ctx, out);
        text(out, "type", "message");
        text(out, "role", "assistant");
        text(out, "model", start.model);
        raw(out, "content", "[]");
        raw(out, "stop_reason", "null");
        raw(out, "stop_sequence", "null");
        key(out, "usage");
        write_usage(self.usage, out);
        out.push(b'}');
        end(out);
    }

    fn part_start(&mut self, part: usize, kind: &Kind<'_>, out: &mut Vec<u8>) {
        let index = self.blocks;
        begin(out, "content_block_start");
        number(out, "index", index as u64);
        open_field(out, "content_block", b'{');
        match kind {
            Kind::Text | Kind::Refusal => {
                text(out, "type", "text");
                text(out, "text", "");
            }
            Kind::Thinking => {
                text(out, "type", "thinking");
                text(out, "thinking", "");
                text(out, "signature", "");
            }
            Kind::Redacted { data } => {
                text(out, "type", "redacted_thinking");
                text(out, "data", data);
            }
            Kind::ToolCall { id, name } => {
                text(out, "type", "tool_use");
                key(out, "id");
                write_call_id(id, index, &self.response_ctx, out);
                text(out, "name", name);
                raw(out, "input", "{}");
            }
            Kind::Other => {}
        }
        out.push(b'}');
        end(out);
        self.blocks += 1;
        self.parts.resize(self.parts.len().max(part + 1), None);
        if let Some(slot) = self.parts.get_mut(part) {
            *slot = Some(Block {
                index,
                is_thinking: matches!(kind, Kind::Thinking),
                is_open: true,
            });
        }
    }

    /// A late delta of a closed block is still sent, with the index of the block.
    fn delta(&self, part: usize, delta: &Delta<'_>, out: &mut Vec<u8>) {
        let Some(Some(block)) = self.parts.get(part) else {
            return;
        };
        let (kind, name, value, is_raw) = match delta {
            Delta::Text(more) if block.is_thinking => ("thinking_delta", "thinking", *more, false),
            Delta::Text(more) => ("text_delta", "text", *more, false),
            Delta::Arguments(more) => ("input_json_delta", "partial_json", *more, false),
            Delta::Signature(seal) => ("signature_delta", "signature", *seal, false),
            Delta::Citation(citation) => ("citations_delta", "citation", *citation, true),
        };
        begin(out, "content_block_delta");
        number(out, "index", block.index as u64);
        open_field(out, "delta", b'{');
        text(out, "type", kind);
        if is_raw {
            raw(out, name, value);
        } else {
            text(out, name, value);
        }
        out.push(b'}');
        end(out);
    }

    fn part_end(&mut self, part: usize, out: &mut Vec<u8>) {
        if let Some(Some(block)) = self.parts.get_mut(part)
            && block.is_open
        {
            block.is_open = false;
            begin(out, "content_block_stop");
            number(out, "index", block.index as u64);
            end(out);
        }
    }

    /// The stop reason and the usage are in one event, so this event is written just before the last one.
    fn finish(&mut self, out: &mut Vec<u8>) {
        for part in 0..self.parts.len() {
            self.part_end(part, out);
        }
        let (stop, sequence) = self.stop.take().unwrap_or((Stop::End, None));
        begin(out, "message_delta");
        open_field(out, "delta", b'{');
        write_stop(stop, sequence.as_deref(), out);
        out.push(b'}');
        key(out, "usage");
        write_usage(self.usage, out);
        end(out);
        begin(out, "message_stop");
        end(out);
    }
}

/// Begins an event whose data names its type.
fn begin(out: &mut Vec<u8>, name: &str) {
    out.extend_from_slice(b"event: ");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\ndata: {\"type\":\"");
    out.extend_from_slice(name.as_bytes());
    out.push(b'"');
}

fn end(out: &mut Vec<u8>) {
    out.extend_from_slice(b"}\n\n");
}

impl Encoder for Blocks {
    fn event(&mut self, event: &Event<'_>, out: &mut Vec<u8>) {
        let needs_start = !matches!(
            event,
            Event::Start(_) | Event::Heartbeat | Event::Error(_) | Event::Usage(_)
        );
        if needs_start && !self.started {
            self.start(&Start::default(), out);
        }
        match event {
            Event::Start(start) if !self.started => self.start(start, out),
            Event::PartStart {
                part,
                choice: 0,
                kind,
            } if *part < PARTS_MAX && *kind != Kind::Other => self.part_start(*part, kind, out),
            Event::Delta { part, delta } => self.delta(*part, delta, out),
            Event::PartEnd { part } => self.part_end(*part, out),
            Event::Stop {
                choice: 0,
                reason,
                sequence,
            } => self.stop = Some((*reason, sequence.map(str::to_owned))),
            Event::Usage(usage) => self.usage = *usage,
            Event::Heartbeat => {
                begin(out, "ping");
                end(out);
            }
            Event::Error(failure) => {
                out.extend_from_slice(b"event: error\ndata: ");
                write_provider_error(failure, out);
                out.extend_from_slice(b"\n\n");
            }
            Event::End => self.finish(out),
            // These events have no counterpart in a stream with one choice.
            Event::Start(_)
            | Event::PartStart { .. }
            | Event::Stop { .. }
            | Event::Logprobs { .. } => {}
        }
    }
}
