//! Writes a stream of `chat.completion.chunk` events from neutral events.

use crate::protocols::client_api::{Encoder, ResponseContext};
use crate::protocols::json::document::write_u64;
use crate::protocols::json::write::{key, number, open, open_field, raw, text};
use crate::protocols::neutral::event::{Delta, Event, Kind, Start};
use crate::protocols::openai::client::response::{write_call_id, write_id, write_usage};
use crate::protocols::openai::errors::write_provider_error;
use crate::protocols::openai::vocabulary::finish_reason;
use crate::protocols::usage::Usage;

pub(crate) struct Chunks {
    response_ctx: ResponseContext,
    /// The start of a chunk up to the index of the choice.
    before: Vec<u8>,
    parts: Vec<Part>,
    /// The number of tool calls so far, by choice.
    calls: Vec<usize>,
    usage: Option<Usage>,
    started: bool,
}

/// A part that was started.
#[derive(Clone, Copy)]
struct Part {
    choice: u64,
    form: Form,
}

#[derive(Clone, Copy)]
enum Form {
    Text,
    Refusal,
    Thinking,
    Call { nth: usize, has_arguments: bool },
    Nothing,
}

impl Chunks {
    #[must_use]
    pub(crate) fn new(response_ctx: ResponseContext) -> Self {
        Self {
            response_ctx,
            before: Vec::new(),
            parts: Vec::new(),
            calls: Vec::new(),
            usage: None,
            started: false,
        }
    }

    fn start(&mut self, start: &Start<'_>) {
        self.started = true;
        let out = &mut self.before;
        out.extend_from_slice(b"data: {\"id\":");
        write_id(start.id, &self.response_ctx, out);
        text(out, "object", "chat.completion.chunk");
        number(
            out,
            "created",
            start.created.unwrap_or(self.response_ctx.created),
        );
        text(out, "model", start.model);
        open_field(out, "choices", b'[');
    }

    /// Appends a chunk with one choice.
    fn chunk(
        &self,
        choice: u64,
        delta: impl FnOnce(&mut Vec<u8>),
        finish: Option<&str>,
        logprobs: Option<&str>,
        out: &mut Vec<u8>,
    ) {
        out.extend_from_slice(&self.before);
        out.extend_from_slice(b"{\"index\":");
        write_u64(out, choice);
        out.extend_from_slice(b",\"delta\":{");
        delta(out);
        out.push(b'}');
        raw(out, "logprobs", logprobs.unwrap_or("null"));
        match finish {
            Some(reason) => text(out, "finish_reason", reason),
            None => raw(out, "finish_reason", "null"),
        }
        out.extend_from_slice(b"}]");
        if self.response_ctx.wants_usage {
            raw(out, "usage", "null");
        }
        out.extend_from_slice(b"}\n\n");
    }

    /// Appends the first chunk of a choice, which names the role.
    fn role(&self, choice: u64, out: &mut Vec<u8>) {
        let delta = |out: &mut Vec<u8>| {
            text(out, "role", "assistant");
            text(out, "content", "");
        };
        self.chunk(choice, delta, None, None, out);
    }

    /// Registers a choice; appends its first chunk if the choice is new.
    fn begin_choice(&mut self, choice: u64, out: &mut Vec<u8>) -> usize {
        let at = usize::try_from(choice).unwrap_or(0).min(CHOICES_MAX);
        while self.calls.len() <= at {
            let new = self.calls.len() as u64;
            self.calls.push(0);
            self.role(new, out);
        }
        at
    }

    fn part_start(&mut self, part: usize, choice: u64, kind: &Kind<'_>, out: &mut Vec<u8>) {
        let at = self.begin_choice(choice, out);
        let form = match kind {
            Kind::Text => Form::Text,
            Kind::Refusal => Form::Refusal,
            Kind::Thinking => Form::Thinking,
            Kind::Redacted { data } => {
                let delta = |out: &mut Vec<u8>| {
                    open_field(out, "thinking_blocks", b'[');
                    open(out, b'{');
                    text(out, "type", "redacted_thinking");
                    text(out, "data", data);
                    out.extend_from_slice(b"}]");
                };
                self.chunk(choice, delta, None, None, out);
                Form::Nothing
            }
            Kind::ToolCall { id, name } => {
                let nth = self.calls.get(at).copied().unwrap_or(0);
                if let Some(calls) = self.calls.get_mut(at) {
                    *calls += 1;
                }
                let delta = |out: &mut Vec<u8>| {
                    begin_call(nth, out);
                    key(out, "id");
                    write_call_id(id, nth, &self.response_ctx, out);
                    text(out, "type", "function");
                    open_field(out, "function", b'{');
                    text(out, "name", name);
                    text(out, "arguments", "");
                    out.extend_from_slice(b"}}]");
                };
                self.chunk(choice, delta, None, None, out);
                Form::Call {
                    nth,
                    has_arguments: false,
                }
            }
            Kind::Other => Form::Nothing,
        };
        let blank = Part {
            choice,
            form: Form::Nothing,
        };
        if part < PARTS_MAX {
            self.parts.resize(self.parts.len().max(part + 1), blank);
            if let Some(slot) = self.parts.get_mut(part) {
                *slot = Part { choice, form };
            }
        }
    }

    fn delta(&mut self, part: usize, delta: &Delta<'_>, out: &mut Vec<u8>) {
        let Some(state) = self.parts.get(part).copied() else {
            return;
        };
        let field = |name: &'static str, value: &str, out: &mut Vec<u8>| {
            self.chunk(state.choice, |out| text(out, name, value), None, None, out);
        };
        match (state.form, delta) {
            (Form::Text, Delta::Text(more)) => field("content", more, out),
            (Form::Refusal, Delta::Text(more)) => field("refusal", more, out),
            (Form::Thinking, Delta::Text(more)) => field("reasoning_content", more, out),
            (Form::Thinking, Delta::Signature(seal)) => {
                let delta = |out: &mut Vec<u8>| {
                    open_field(out, "thinking_blocks", b'[');
                    open(out, b'{');
                    text(out, "type", "thinking");
                    text(out, "signature", seal);
                    out.extend_from_slice(b"}]");
                };
                self.chunk(state.choice, delta, None, None, out);
            }
            (Form::Text, Delta::Citation(citation)) => {
                let delta = |out: &mut Vec<u8>| {
                    open_field(out, "provider_specific_fields", b'{');
                    raw(out, "citation", citation);
                    out.push(b'}');
                };
                self.chunk(state.choice, delta, None, None, out);
            }
            (Form::Call { nth, .. }, Delta::Arguments(more)) if !more.is_empty() => {
                self.arguments(state.choice, nth, more, out);
                if let Some(state) = self.parts.get_mut(part) {
                    state.form = Form::Call {
                        nth,
                        has_arguments: true,
                    };
                }
            }
            _ => {}
        }
    }

    fn arguments(&self, choice: u64, nth: usize, more: &str, out: &mut Vec<u8>) {
        let delta = |out: &mut Vec<u8>| {
            begin_call(nth, out);
            open_field(out, "function", b'{');
            text(out, "arguments", more);
            out.extend_from_slice(b"}}]");
        };
        self.chunk(choice, delta, None, None, out);
    }

    /// A tool call without arguments gets empty ones.
    fn part_end(&mut self, part: usize, out: &mut Vec<u8>) {
        if let Some(Part {
            choice,
            form:
                Form::Call {
                    nth,
                    has_arguments: false,
                },
        }) = self.parts.get(part).copied()
        {
            self.arguments(choice, nth, "{}", out);
        }
    }

    fn end(&mut self, out: &mut Vec<u8>) {
        if let (true, Some(usage)) = (self.response_ctx.wants_usage, self.usage) {
            out.extend_from_slice(&self.before);
            out.push(b']');
            key(out, "usage");
            write_usage(usage, out);
            out.extend_from_slice(b"}\n\n");
        }
        out.extend_from_slice(b"data: [DONE]\n\n");
    }
}

/// Most choices of one stream that are distinguished: OpenAI's own limit for `n`.
const CHOICES_MAX: usize = 127;

/// Most parts of one stream whose state is stored; events of further parts are left out.
const PARTS_MAX: usize = 4096;

fn begin_call(nth: usize, out: &mut Vec<u8>) {
    open_field(out, "tool_calls", b'[');
    open(out, b'{');
    number(out, "index", nth as u64);
}

impl Encoder for Chunks {
    fn event(&mut self, event: &Event<'_>, out: &mut Vec<u8>) {
        let needs_start = !matches!(
            event,
            Event::Start(_) | Event::Heartbeat | Event::Error(_) | Event::Usage(_)
        );
        if needs_start && !self.started {
            self.start(&Start::default());
        }
        match event {
            Event::Start(start) => {
                if !self.started {
                    self.start(start);
                    self.begin_choice(0, out);
                }
            }
            Event::PartStart { part, choice, kind } => self.part_start(*part, *choice, kind, out),
            Event::Delta { part, delta } => self.delta(*part, delta, out),
            Event::PartEnd { part } => self.part_end(*part, out),
            Event::Logprobs { choice, raw } => {
                self.chunk(*choice, |_| {}, None, Some(raw), out);
            }
            Event::Stop { choice, reason, .. } => {
                self.begin_choice(*choice, out);
                self.chunk(*choice, |_| {}, Some(finish_reason(*reason)), None, out);
            }
            Event::Usage(usage) => self.usage = Some(*usage),
            // A single line end: some clients dispatch an empty event for a blank line.
            Event::Heartbeat => out.extend_from_slice(b": ping\n"),
            Event::Error(failure) => {
                out.extend_from_slice(b"data: ");
                write_provider_error(failure, out);
                out.extend_from_slice(b"\n\n");
            }
            Event::End => self.end(out),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocols::neutral::response::Stop;

    fn response_ctx(wants_usage: bool) -> ResponseContext {
        ResponseContext {
            request_id: "r".into(),
            created: 5,
            wants_usage,
            ..ResponseContext::default()
        }
    }

    #[test]
    fn a_call_without_arguments_gets_empty_ones_and_an_id() {
        let mut chunks = Chunks::new(response_ctx(false));
        let mut out = Vec::new();
        for event in [
            Event::Start(Start::default()),
            Event::PartStart {
                part: 0,
                choice: 0,
                kind: Kind::ToolCall { id: "", name: "f" },
            },
            Event::Delta {
                part: 0,
                delta: Delta::Arguments(""),
            },
            Event::PartEnd { part: 0 },
            Event::Stop {
                choice: 0,
                reason: Stop::ToolCalls,
                sequence: None,
            },
            Event::End,
        ] {
            chunks.event(&event, &mut out);
        }
        let text = String::from_utf8(out).unwrap();
        assert!(text.contains(r#""id":"call_r_0""#), "{text}");
        assert!(text.contains(r#""function":{"arguments":"{}"}"#), "{text}");
        assert!(text.contains(r#""finish_reason":"tool_calls""#), "{text}");
        assert!(text.ends_with("data: [DONE]\n\n"));
    }

    #[test]
    fn usage_is_the_last_chunk_and_only_if_requested() {
        for wants in [false, true] {
            let mut chunks = Chunks::new(response_ctx(wants));
            let mut out = Vec::new();
            chunks.event(&Event::Start(Start::default()), &mut out);
            chunks.event(&Event::Usage(Usage::default()), &mut out);
            chunks.event(&Event::Heartbeat, &mut out);
            chunks.event(&Event::End, &mut out);
            let text = String::from_utf8(out).unwrap();
            assert_eq!(text.contains("prompt_tokens"), wants, "{text}");
            assert_eq!(text.contains("\"choices\":[],\"usage\":{"), wants, "{text}");
        }
    }
}
