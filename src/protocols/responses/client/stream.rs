//! Writes a stream of Responses' typed events from neutral events.
//!
//! Deltas are forwarded as they arrive. Their text is buffered too, because this API repeats each part when it ends,
//! and the whole response in the last event.

use crate::protocols::client_api::{Encoder, ResponseContext};
use crate::protocols::json::write::{key, number, open_field, raw, text};
use crate::protocols::neutral::event::{Delta, Event, Kind, Start};
use crate::protocols::neutral::response::{ProviderError, Stop, redacted};
use crate::protocols::openai::errors::write_provider_error;
use crate::protocols::responses::client::errors::write_error_event;
use crate::protocols::responses::client::response::{
    Frame, FunctionCall, begin_message, item_id, write_text, write_thought,
};
use crate::protocols::usage::Usage;

pub(crate) struct Items {
    response_ctx: ResponseContext,
    model: String,
    created: Option<u64>,
    sequence: u64,
    started: bool,
    over: bool,
    /// The item of each neutral part, by the number of the part.
    parts: Vec<Option<Item>>,
    /// The number of items so far.
    count: usize,
    /// Finished items, with their index.
    finished: Vec<(usize, Vec<u8>)>,
    held_bytes: usize,
    stop: Option<Stop>,
    usage: Option<Usage>,
}

/// An item that was started.
struct Item {
    at: usize,
    id: String,
    form: Form,
    text: String,
    seal: Option<String>,
}

enum Form {
    Message,
    Refusal,
    Thought,
    Call { id: String, name: String },
}

/// Most parts of one stream whose state is stored; events of further parts are left out.
const PARTS_MAX: usize = 4096;

/// Most bytes of one response that are buffered to be repeated, the limit of a whole response.
const HELD_BYTES_MAX: usize = 64 * 1024 * 1024;

impl Items {
    #[must_use]
    pub(crate) fn new(response_ctx: ResponseContext) -> Self {
        Self {
            response_ctx,
            model: String::new(),
            created: None,
            sequence: 0,
            started: false,
            over: false,
            parts: Vec::new(),
            count: 0,
            finished: Vec::new(),
            held_bytes: 0,
            stop: None,
            usage: None,
        }
    }

    /// Appends an event; `write` adds its fields.
    fn emit(&mut self, name: &str, out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
        out.extend_from_slice(b"event: ");
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(b"\ndata: {\"type\":\"");
        out.extend_from_slice(name.as_bytes());
        out.push(b'"');
        number(out, "sequence_number", self.sequence);
        self.sequence += 1;
        write(out);
        out.extend_from_slice(b"}\n\n");
    }

    /// The response so far.
    fn response(&self, items: &[u8]) -> Vec<u8> {
        let mut written = Vec::with_capacity(512 + items.len());
        let frame = Frame {
            response_ctx: &self.response_ctx,
            created: self.created,
            model: &self.model,
            stop: self.stop,
            usage: self.usage,
        };
        frame.write(items, &mut written);
        written
    }

    fn emit_response(&mut self, name: &str, items: &[u8], out: &mut Vec<u8>) {
        let response = self.response(items);
        self.emit(name, out, |out| {
            key(out, "response");
            out.extend_from_slice(&response);
        });
    }

    fn start(&mut self, start: &Start<'_>, out: &mut Vec<u8>) {
        self.started = true;
        start.model.clone_into(&mut self.model);
        self.created = start.created;
        for name in ["response.created", "response.in_progress"] {
            self.emit_response(name, &[], out);
        }
    }

    fn part_start(&mut self, part: usize, kind: &Kind<'_>, out: &mut Vec<u8>) {
        let (prefix, form) = match kind {
            Kind::Text => ("msg", Form::Message),
            Kind::Refusal => ("msg", Form::Refusal),
            Kind::Thinking | Kind::Redacted { .. } => ("rs", Form::Thought),
            Kind::ToolCall { id, name } => {
                let id = match *id {
                    "" => item_id("call", &self.response_ctx, self.count),
                    id => id.to_owned(),
                };
                let name = (*name).to_owned();
                ("fc", Form::Call { id, name })
            }
            Kind::Other => return,
        };
        let seal = match kind {
            Kind::Redacted { data } => Some((*data).to_owned()),
            _ => None,
        };
        let item = Item {
            at: self.count,
            id: item_id(prefix, &self.response_ctx, self.count),
            form,
            text: String::new(),
            seal,
        };
        self.count += 1;
        let begun = item.begun(&self.response_ctx);
        self.emit("response.output_item.added", out, |out| {
            number(out, "output_index", item.at as u64);
            key(out, "item");
            out.extend_from_slice(&begun);
        });
        let opening = match item.form {
            Form::Message | Form::Refusal => "response.content_part.added",
            Form::Thought if item.seal.is_none() => "response.reasoning_summary_part.added",
            _ => "",
        };
        if !opening.is_empty() {
            self.emit(opening, out, |out| item.write_part(out));
        }
        self.parts
            .resize_with(self.parts.len().max(part + 1), || None);
        if let Some(slot) = self.parts.get_mut(part) {
            *slot = Some(item);
        }
    }

    fn delta(&mut self, part: usize, delta: &Delta<'_>, out: &mut Vec<u8>) {
        let Some(Some(item)) = self.parts.get_mut(part) else {
            return;
        };
        let (name, more) = match (&item.form, delta) {
            (Form::Message, Delta::Text(more)) => ("response.output_text.delta", *more),
            (Form::Refusal, Delta::Text(more)) => ("response.refusal.delta", *more),
            (Form::Thought, Delta::Text(more)) => ("response.reasoning_summary_text.delta", *more),
            (Form::Call { .. }, Delta::Arguments(more)) => {
                ("response.function_call_arguments.delta", *more)
            }
            (Form::Thought, Delta::Signature(seal)) => {
                item.seal.get_or_insert_default().push_str(seal);
                return;
            }
            _ => return,
        };
        item.text.push_str(more);
        self.held_bytes = self.held_bytes.saturating_add(more.len());
        let mut fields = Vec::new();
        item.write_place(&mut fields);
        if matches!(item.form, Form::Message) {
            raw(&mut fields, "logprobs", "[]");
        }
        self.emit(name, out, |out| {
            out.extend_from_slice(&fields);
            text(out, "delta", more);
        });
        if self.held_bytes > HELD_BYTES_MAX {
            self.fail(&too_large(), out);
        }
    }

    /// A part is complete. Deltas of a tool call may still follow, so its item ends with the stream.
    fn part_end(&mut self, part: usize, out: &mut Vec<u8>) {
        let is_call = |item: &Item| matches!(item.form, Form::Call { .. });
        if let Some(slot) = self.parts.get_mut(part)
            && slot.as_ref().is_some_and(|item| !is_call(item))
            && let Some(item) = slot.take()
        {
            self.finish_item(item, out);
        }
    }

    fn finish_item(&mut self, mut item: Item, out: &mut Vec<u8>) {
        if matches!(item.form, Form::Call { .. }) && item.text.trim().is_empty() {
            // A tool call without arguments gets empty ones.
            item.text = "{}".to_owned();
        }
        let (name, field, closing) = match &item.form {
            Form::Message => (
                "response.output_text.done",
                "text",
                "response.content_part.done",
            ),
            Form::Refusal => (
                "response.refusal.done",
                "refusal",
                "response.content_part.done",
            ),
            Form::Thought => (
                "response.reasoning_summary_text.done",
                "text",
                "response.reasoning_summary_part.done",
            ),
            Form::Call { .. } => ("response.function_call_arguments.done", "arguments", ""),
        };
        let is_sealed_alone = item.text.is_empty() && item.seal.is_some();
        if !is_sealed_alone {
            self.emit(name, out, |out| {
                item.write_place(out);
                text(out, field, &item.text);
                match &item.form {
                    Form::Message => raw(out, "logprobs", "[]"),
                    Form::Call { name, .. } => text(out, "name", name),
                    _ => {}
                }
            });
            if !closing.is_empty() {
                self.emit(closing, out, |out| item.write_part(out));
            }
        }
        let done = item.done(&self.response_ctx);
        self.emit("response.output_item.done", out, |out| {
            number(out, "output_index", item.at as u64);
            key(out, "item");
            out.extend_from_slice(&done);
        });
        self.finished.push((item.at, done));
    }

    fn finish_items(&mut self, out: &mut Vec<u8>) {
        for at in 0..self.parts.len() {
            if let Some(item) = self.parts.get_mut(at).and_then(Option::take) {
                self.finish_item(item, out);
            }
        }
    }

    fn end(&mut self, out: &mut Vec<u8>) {
        self.finish_items(out);
        self.over = true;
        self.finished.sort_by_key(|(at, _)| *at);
        let items: Vec<&[u8]> = self.finished.iter().map(|(_, item)| &item[..]).collect();
        let items = items.join(&b","[..]);
        let stop = *self.stop.get_or_insert(Stop::End);
        let name = match stop {
            Stop::Length | Stop::WindowFull | Stop::Refused => "response.incomplete",
            _ => "response.completed",
        };
        self.emit_response(name, &items, out);
    }

    fn fail(&mut self, failure: &ProviderError<'_>, out: &mut Vec<u8>) {
        self.over = true;
        let mut envelope = Vec::new();
        write_provider_error(failure, &mut envelope);
        let envelope = String::from_utf8_lossy(&envelope);
        let code = match failure.status {
            429 => "rate_limit_exceeded",
            _ => "server_error",
        };
        write_error_event(code, &redacted(&failure.message), &envelope, out);
    }
}

fn too_large() -> ProviderError<'static> {
    ProviderError {
        status: 502,
        message: "the response is larger than the limit; it is not complete".into(),
        kind: None,
        param: None,
        window_exceeded: false,
    }
}

impl Item {
    /// The item at its start.
    fn begun(&self, response_ctx: &ResponseContext) -> Vec<u8> {
        let mut out = Vec::with_capacity(128);
        match &self.form {
            Form::Message | Form::Refusal => {
                begin_message(&self.id, "in_progress", &mut out);
                out.extend_from_slice(b"]}");
            }
            Form::Thought => write_thought(&self.id, "", None, &mut out),
            Form::Call { id, name } => {
                let call = FunctionCall {
                    item: &self.id,
                    id,
                    name,
                    arguments: "",
                    status: "in_progress",
                };
                call.write(self.at, response_ctx, &mut out);
            }
        }
        out
    }

    /// The item at its end.
    fn done(&self, response_ctx: &ResponseContext) -> Vec<u8> {
        let mut out = Vec::with_capacity(128 + self.text.len());
        match &self.form {
            Form::Message => {
                begin_message(&self.id, "completed", &mut out);
                write_text(&self.text, &mut out);
                out.extend_from_slice(b"]}");
            }
            Form::Refusal => {
                begin_message(&self.id, "completed", &mut out);
                self.write_refusal(&mut out);
                out.extend_from_slice(b"]}");
            }
            Form::Thought => write_thought(&self.id, &self.text, self.seal.as_deref(), &mut out),
            Form::Call { id, name } => {
                let call = FunctionCall {
                    item: &self.id,
                    id,
                    name,
                    arguments: &self.text,
                    status: "completed",
                };
                call.write(self.at, response_ctx, &mut out);
            }
        }
        out
    }

    fn write_refusal(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"type\":\"refusal\"");
        text(out, "refusal", &self.text);
        out.push(b'}');
    }

    /// Appends the position of an event's delta.
    fn write_place(&self, out: &mut Vec<u8>) {
        text(out, "item_id", &self.id);
        number(out, "output_index", self.at as u64);
        match self.form {
            Form::Message | Form::Refusal => raw(out, "content_index", "0"),
            Form::Thought => raw(out, "summary_index", "0"),
            Form::Call { .. } => {}
        }
    }

    /// Appends the only part of the item in its current state.
    fn write_part(&self, out: &mut Vec<u8>) {
        self.write_place(out);
        match self.form {
            Form::Message => {
                key(out, "part");
                write_text(&self.text, out);
            }
            Form::Refusal => {
                key(out, "part");
                self.write_refusal(out);
            }
            Form::Thought | Form::Call { .. } => {
                open_field(out, "part", b'{');
                text(out, "type", "summary_text");
                text(out, "text", &self.text);
                out.push(b'}');
            }
        }
    }
}

impl Encoder for Items {
    fn event(&mut self, event: &Event<'_>, out: &mut Vec<u8>) {
        if self.over {
            return;
        }
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
            } if *part < PARTS_MAX => self.part_start(*part, kind, out),
            Event::Delta { part, delta } => self.delta(*part, delta, out),
            Event::PartEnd { part } => self.part_end(*part, out),
            Event::Stop {
                choice: 0, reason, ..
            } => self.stop = Some(*reason),
            Event::Usage(usage) => self.usage = Some(*usage),
            // A single line end: some clients dispatch an empty event for a blank line.
            Event::Heartbeat => out.extend_from_slice(b": ping\n"),
            Event::Error(failure) => self.fail(failure, out),
            Event::End => self.end(out),
            // These events have no counterpart in a stream with one choice.
            Event::Start(_)
            | Event::PartStart { .. }
            | Event::Stop { .. }
            | Event::Logprobs { .. } => {}
        }
    }
}
