//! Reads a Converse stream in AWS's event stream encoding into neutral events.
//!
//! The stop reason arrives before the usage, which is the last event. An exception can arrive after a successful
//! start.

use crate::http::event_stream::{BadMessage, Message, next_message};
use crate::http::sse::EventTooLong;
use crate::protocols::bedrock::provider::response::{client_status, status_of, stop, usage};
use crate::protocols::json::document::{Document, Scratch};
use crate::protocols::neutral::event::{Delta, Event, Kind, Start};
use crate::protocols::neutral::response::ProviderError;
use crate::protocols::provider_api::{Decoder, Sink, not_json};

#[derive(Default)]
pub(crate) struct Messages {
    /// The open block: its index, and the number of its part.
    open: Option<(u64, usize)>,
    parts: usize,
    /// A stop reason was received.
    finished: bool,
    ended: bool,
    /// The error after which nothing more can be read.
    bad: Option<BadMessage>,
}

impl Decoder for Messages {
    /// After a corrupt message the start of the next one is unknown: the rest of the buffer becomes one frame.
    fn next_frame(&mut self, buffer: &[u8]) -> Result<Option<usize>, EventTooLong> {
        if self.bad.is_some() && !buffer.is_empty() {
            return Ok(Some(buffer.len()));
        }
        match next_message(buffer) {
            Ok(found) => Ok(found.map(|(_, length)| length)),
            Err(bad) => {
                self.bad = Some(bad);
                Ok(Some(buffer.len()))
            }
        }
    }

    fn frame(&mut self, frame: &[u8], scratch: &mut Scratch, sink: Sink<'_>) {
        if self.ended {
            return;
        }
        if let Some(bad) = self.bad {
            let message = format!("the provider's event stream is corrupt ({})", bad.as_str());
            self.fail(502, None, &message, sink);
            return;
        }
        // A message that the end of the stream cut off is ignored.
        if let Ok(Some((message, _))) = next_message(frame) {
            self.message(&message, scratch, sink);
        }
    }

    fn end(&mut self, sink: Sink<'_>) {
        if self.finished && !self.ended {
            self.ended = true;
            sink(&Event::End);
        }
    }
}

impl Messages {
    fn fail(&mut self, status: u16, kind: Option<&str>, message: &str, sink: Sink<'_>) {
        self.ended = true;
        sink(&Event::Error(ProviderError {
            status: client_status(status),
            message: message.into(),
            kind,
            param: None,
            window_exceeded: false,
        }));
    }

    fn message(&mut self, message: &Message<'_>, scratch: &mut Scratch, sink: Sink<'_>) {
        if message.text(":message-type") == Some("error") {
            let text = message.text(":error-message").unwrap_or_default();
            self.fail(500, message.text(":error-code"), text, sink);
            return;
        }
        let exception = message.text(":exception-type");
        let read = scratch.with_document(message.payload, |document| match exception {
            Some(kind) => {
                let text = document.text_of(0, "message");
                let text = text.or_else(|| document.text_of(0, "originalMessage"));
                self.fail(status_of(kind), Some(kind), text.unwrap_or(kind), sink);
            }
            None => self.event(message.text(":event-type"), document, sink),
        });
        if read.is_err() {
            self.ended = true;
            sink(&Event::Error(not_json()));
        }
    }

    fn event(&mut self, name: Option<&str>, document: &Document<'_>, sink: Sink<'_>) {
        let index = || document.unsigned_of(0, "contentBlockIndex").unwrap_or(0);
        match name.unwrap_or_default() {
            "contentBlockDelta" => {
                if let Some(delta) = document.field(0, "delta") {
                    self.delta(document, index(), delta, sink);
                }
            }
            "contentBlockStart" => {
                let start = document.field(0, "start");
                let call = start.and_then(|at| document.field(at, "toolUse"));
                // The provider runs a call that has a type.
                let call = call.filter(|at| document.text_of(*at, "type").is_none());
                let text = |at, name| document.text_of(at, name).unwrap_or_default();
                let kind = call.map_or(Kind::Other, |at| Kind::ToolCall {
                    id: text(at, "toolUseId"),
                    name: text(at, "name"),
                });
                self.begin(index(), kind, sink);
            }
            "contentBlockStop" => self.close(sink),
            "messageStart" => sink(&Event::Start(Start::default())),
            "messageStop" => {
                self.close(sink);
                self.finished = true;
                let reason = document.text_of(0, "stopReason").unwrap_or_default();
                sink(&Event::Stop {
                    choice: 0,
                    reason: stop(reason),
                    sequence: None,
                });
            }
            "metadata" => {
                if let Some(usage) = usage(document) {
                    sink(&Event::Usage(usage));
                }
                self.end(sink);
            }
            // Unknown events.
            _ => {}
        }
    }

    /// Only tool calls have a start event: text and thoughts begin with their first delta.
    fn delta(&mut self, document: &Document<'_>, index: u64, delta: usize, sink: Sink<'_>) {
        let text = |at, name| document.text_of(at, name);
        let call = document.field(delta, "toolUse");
        let thought = document.field(delta, "reasoningContent");
        let (kind, more) = if let Some(words) = text(delta, "text") {
            (Kind::Text, Delta::Text(words))
        } else if let Some(piece) = call.and_then(|at| text(at, "input")) {
            // A delta without a start event is not for the client.
            (Kind::Other, Delta::Arguments(piece))
        } else if let Some(at) = thought {
            if let Some(data) = text(at, "redactedContent") {
                self.begin(index, Kind::Redacted { data }, sink);
                return;
            }
            match (text(at, "text"), text(at, "signature")) {
                (Some(words), _) => (Kind::Thinking, Delta::Text(words)),
                (None, Some(seal)) => (Kind::Thinking, Delta::Signature(seal)),
                (None, None) => return,
            }
        } else {
            return;
        };
        let part = match self.open {
            Some((open, part)) if open == index => part,
            _ => self.begin(index, kind, sink),
        };
        if !matches!(more, Delta::Text("") | Delta::Arguments("")) {
            sink(&Event::Delta { part, delta: more });
        }
    }

    fn begin(&mut self, index: u64, kind: Kind<'_>, sink: Sink<'_>) -> usize {
        self.close(sink);
        let part = self.parts;
        self.parts += 1;
        self.open = Some((index, part));
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
}
