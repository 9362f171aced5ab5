//! Writes a stream of `GenerateContentResponse` events from neutral events.
//!
//! This API sends tool calls whole, so their pieces are buffered until the response ends. Heartbeats are left out,
//! because Google's SDKs ignore no form of them.

use crate::http::limits::SSE_EVENT_BYTES_MAX;
use crate::protocols::client_api::{Encoder, ResponseContext};
use crate::protocols::gemini::client::errors::write_provider_error;
use crate::protocols::gemini::client::response::{
    ToolCall, finish_reason, write_call, write_frame, write_thought, write_usage,
};
use crate::protocols::json::write::{number, open, open_field, text};
use crate::protocols::neutral::event::{Delta, Event, Kind, Start};
use crate::protocols::neutral::response::{ProviderError, Stop};
use crate::protocols::usage::Usage;

pub(crate) struct Chunks {
    response_ctx: ResponseContext,
    id: String,
    model: String,
    parts: Vec<Option<Part>>,
    /// Buffered bytes of tool calls.
    held: usize,
    stops: Vec<(u64, Stop)>,
    usage: Option<Usage>,
    failed: bool,
}

/// A part that was started.
enum Part {
    Text(u64),
    Thought(u64),
    Call(Box<FunctionCall>),
}

/// A tool call that is being received.
struct FunctionCall {
    choice: u64,
    id: String,
    name: String,
    arguments: String,
}

/// Most parts of one stream whose state is stored; events of further parts are left out.
const PARTS_MAX: usize = 4096;

/// Most choices in one stream; no provider returns more.
const CHOICES_MAX: usize = 128;

impl Chunks {
    #[must_use]
    pub(crate) fn new(response_ctx: ResponseContext) -> Self {
        Self {
            response_ctx,
            id: String::new(),
            model: String::new(),
            parts: Vec::new(),
            held: 0,
            stops: Vec::new(),
            usage: None,
            failed: false,
        }
    }

    fn start(&mut self, start: &Start<'_>) {
        start.id.clone_into(&mut self.id);
        start.model.clone_into(&mut self.model);
        self.usage = start.usage;
    }

    /// Appends a chunk with one candidate.
    fn chunk(
        &self,
        choice: u64,
        write_parts: impl FnOnce(&mut Vec<u8>),
        end: Option<(&str, Option<Usage>)>,
        out: &mut Vec<u8>,
    ) {
        out.extend_from_slice(b"data: {");
        open_field(out, "candidates", b'[');
        open(out, b'{');
        open_field(out, "content", b'{');
        open_field(out, "parts", b'[');
        write_parts(out);
        out.push(b']');
        text(out, "role", "model");
        out.push(b'}');
        if let Some((reason, _)) = end {
            text(out, "finishReason", reason);
        }
        number(out, "index", choice);
        out.extend_from_slice(b"}]");
        if let Some((_, Some(usage))) = end {
            write_usage(usage, out);
        }
        write_frame(&self.id, &self.model, &self.response_ctx, out);
        out.extend_from_slice(b"}\n\n");
    }

    fn part_start(&mut self, part: usize, choice: u64, kind: &Kind<'_>) {
        let begun = match kind {
            Kind::Text | Kind::Refusal => Some(Part::Text(choice)),
            Kind::Thinking => Some(Part::Thought(choice)),
            Kind::ToolCall { id, name } => Some(Part::Call(Box::new(FunctionCall {
                choice,
                id: (*id).to_owned(),
                name: (*name).to_owned(),
                arguments: String::new(),
            }))),
            // Parts that only another provider can read.
            Kind::Redacted { .. } | Kind::Other => None,
        };
        if part < PARTS_MAX {
            let length = self.parts.len().max(part + 1);
            self.parts.resize_with(length, || None);
            if let Some(slot) = self.parts.get_mut(part) {
                *slot = begun;
            }
        }
    }

    fn delta(&mut self, part: usize, delta: &Delta<'_>, out: &mut Vec<u8>) {
        match (self.parts.get_mut(part), delta) {
            (Some(Some(Part::Call(call))), Delta::Arguments(more)) => {
                call.arguments.push_str(more);
                self.held += more.len();
                if self.held > SSE_EVENT_BYTES_MAX {
                    self.fail("the arguments of a call are too large", out);
                }
            }
            (Some(Some(Part::Text(choice))), Delta::Text(more)) => {
                let (choice, more) = (*choice, *more);
                let words = |out: &mut Vec<u8>| {
                    open(out, b'{');
                    text(out, "text", more);
                    out.push(b'}');
                };
                self.chunk(choice, words, None, out);
            }
            (Some(Some(Part::Thought(choice))), Delta::Text(more)) => {
                let (choice, more) = (*choice, *more);
                self.chunk(choice, |out| write_thought(more, None, out), None, out);
            }
            (Some(Some(Part::Thought(choice))), Delta::Signature(seal)) => {
                let (choice, seal) = (*choice, *seal);
                self.chunk(choice, |out| write_thought("", Some(seal), out), None, out);
            }
            _ => {}
        }
    }

    fn fail(&mut self, message: &'static str, out: &mut Vec<u8>) {
        let failure = ProviderError {
            status: 502,
            message: message.into(),
            kind: None,
            param: None,
            window_exceeded: false,
        };
        self.failed(&failure, out);
    }

    fn failed(&mut self, failure: &ProviderError<'_>, out: &mut Vec<u8>) {
        self.failed = true;
        out.extend_from_slice(b"data: ");
        write_provider_error(failure, out);
        out.extend_from_slice(b"\n\n");
    }

    /// Appends the last chunk of each choice: its tool calls, the stop reason and the usage.
    fn finish(&mut self, out: &mut Vec<u8>) {
        if self.stops.is_empty() {
            self.stops.push((0, Stop::End));
        }
        for (choice, stop) in &self.stops {
            let calls = |out: &mut Vec<u8>| {
                for (nth, part) in self.parts.iter().enumerate() {
                    if let Some(Part::Call(call)) = part
                        && call.choice == *choice
                    {
                        let response_ctx = &self.response_ctx;
                        let call = ToolCall {
                            id: &call.id,
                            name: &call.name,
                            arguments: &call.arguments,
                        };
                        write_call(call, nth, response_ctx, out);
                    }
                }
            };
            let end = Some((finish_reason(*stop), self.usage));
            self.chunk(*choice, calls, end, out);
        }
    }
}

impl Encoder for Chunks {
    fn event(&mut self, event: &Event<'_>, out: &mut Vec<u8>) {
        if self.failed {
            return;
        }
        match event {
            Event::Start(start) => self.start(start),
            Event::PartStart { part, choice, kind } => self.part_start(*part, *choice, kind),
            Event::Delta { part, delta } => self.delta(*part, delta, out),
            Event::Stop { choice, reason, .. } => {
                let is_new = self.stops.iter().all(|(known, _)| known != choice);
                if is_new && self.stops.len() < CHOICES_MAX {
                    self.stops.push((*choice, *reason));
                }
            }
            Event::Usage(usage) => self.usage = Some(*usage),
            Event::Error(failure) => self.failed(failure, out),
            Event::End => self.finish(out),
            Event::PartEnd { .. } | Event::Logprobs { .. } | Event::Heartbeat => {}
        }
    }
}
