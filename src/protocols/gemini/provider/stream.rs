//! Reads a stream of `GenerateContentResponse` events into neutral events. There is no end event: the stream is
//! complete if the body ends after a finish reason.

use crate::http::sse::{EventTooLong, SseSplitter};
use crate::protocols::gemini::provider::response::{
    Piece, What, is_blocked, parts_of, read_error, stop, usage,
};
use crate::protocols::json::document::{Document, Scratch};
use crate::protocols::neutral::event::{Delta, Event, Kind, Start};
use crate::protocols::neutral::response::Stop;
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
}

/// An open part, text or a thought; each choice has at most one.
struct Open {
    choice: u64,
    is_thought: bool,
    part: usize,
}

/// Most choices at once; more would be malformed.
const CHOICES_MAX: usize = 512;

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
        let read = scratch.with_document(&data, |document| self.chunk(document, sink));
        if read.is_err() {
            self.ended = true;
            sink(&Event::Error(not_json()));
        }
    }

    fn end(&mut self, sink: Sink<'_>) {
        if self.finished && !self.ended {
            self.ended = true;
            for open in self.open.drain(..) {
                sink(&Event::PartEnd { part: open.part });
            }
            sink(&Event::End);
        }
    }
}

impl Chunks {
    fn chunk(&mut self, document: &Document<'_>, sink: Sink<'_>) {
        let is_error = document
            .field(0, "error")
            .is_some_and(|at| !document.is_null(at));
        if is_error || document.elements(0).is_some() {
            self.ended = true;
            sink(&Event::Error(read_error(0, document)));
            return;
        }
        let usage = usage(document);
        if !self.started {
            self.started = true;
            let text = |name| document.text_of(0, name).unwrap_or_default();
            sink(&Event::Start(Start {
                id: text("responseId"),
                model: text("modelVersion"),
                created: None,
                usage,
            }));
        }
        // Emitted before the end of the response, which can be in the same chunk.
        if let Some(usage) = usage {
            sink(&Event::Usage(usage));
        }
        let candidates = document.field(0, "candidates");
        let mut any = false;
        for at in candidates
            .and_then(|at| document.elements(at))
            .into_iter()
            .flatten()
        {
            any = true;
            self.candidate(document, at, sink);
        }
        if !any && !self.finished && is_blocked(document) {
            self.stop(0, Stop::Refused, sink);
        }
    }

    fn candidate(&mut self, document: &Document<'_>, at: usize, sink: Sink<'_>) {
        let choice = document.unsigned_of(at, "index").unwrap_or(0);
        for node in parts_of(document, at) {
            self.piece(&Piece::read(document, node), choice, sink);
        }
        if let Some(reason) = document.text_of(at, "finishReason") {
            let has_calls = self.callers.contains(&choice);
            self.stop(choice, stop(reason, has_calls), sink);
        }
    }

    fn stop(&mut self, choice: u64, reason: Stop, sink: Sink<'_>) {
        self.finished = true;
        self.close(choice, sink);
        sink(&Event::Stop {
            choice,
            reason,
            sequence: None,
        });
    }

    fn piece(&mut self, piece: &Piece<'_>, choice: u64, sink: Sink<'_>) {
        match piece.what {
            What::Thought(text) => {
                self.text(choice, text, true, sink);
                self.seal(choice, piece.seal, sink);
            }
            What::Text(text) => {
                self.seal(choice, piece.seal, sink);
                self.text(choice, text, false, sink);
            }
            What::Call {
                id,
                name,
                arguments,
            } => {
                self.seal(choice, piece.seal, sink);
                self.close(choice, sink);
                if !self.callers.contains(&choice) && self.callers.len() < CHOICES_MAX {
                    self.callers.push(choice);
                }
                let part = self.begin(choice, Kind::ToolCall { id, name }, sink);
                let delta = Delta::Arguments(arguments);
                sink(&Event::Delta { part, delta });
                sink(&Event::PartEnd { part });
            }
            What::Other => self.seal(choice, piece.seal, sink),
        }
    }

    fn text(&mut self, choice: u64, text: &str, is_thought: bool, sink: Sink<'_>) {
        if text.is_empty() {
            return;
        }
        let part = self.text_part(choice, is_thought, sink);
        let delta = Delta::Text(text);
        sink(&Event::Delta { part, delta });
    }

    /// A signature ends the thought before it, or becomes an empty thought.
    fn seal(&mut self, choice: u64, seal: Option<&str>, sink: Sink<'_>) {
        if let Some(seal) = seal {
            let part = self.text_part(choice, true, sink);
            let delta = Delta::Signature(seal);
            sink(&Event::Delta { part, delta });
            self.close(choice, sink);
        }
    }

    /// The open part of this kind; begins it if necessary.
    fn text_part(&mut self, choice: u64, is_thought: bool, sink: Sink<'_>) -> usize {
        let mut open = self.open.iter();
        if let Some(open) = open.find(|open| open.choice == choice && open.is_thought == is_thought)
        {
            return open.part;
        }
        self.close(choice, sink);
        let kind = match is_thought {
            true => Kind::Thinking,
            false => Kind::Text,
        };
        let part = self.begin(choice, kind, sink);
        if self.open.len() < CHOICES_MAX {
            self.open.push(Open {
                choice,
                is_thought,
                part,
            });
        }
        part
    }

    fn begin(&mut self, choice: u64, kind: Kind<'_>, sink: Sink<'_>) -> usize {
        let part = self.parts;
        self.parts += 1;
        sink(&Event::PartStart { part, choice, kind });
        part
    }

    /// Ends the open part of this choice.
    fn close(&mut self, choice: u64, sink: Sink<'_>) {
        self.open.retain(|open| {
            if open.choice == choice {
                sink(&Event::PartEnd { part: open.part });
            }
            open.choice != choice
        });
    }
}
