//! Reads a response for the store from neutral events, in whatever wire format they arrived.

use crate::cache::response::cached_response::{CachedResponse, TEXT_BYTES_EXPECTED};
use crate::cache::response::not_stored::NotStored;
use crate::protocols::neutral::event::{Delta, Event, Kind, Start};
use crate::protocols::neutral::request::Part;
use crate::protocols::neutral::response;
use crate::protocols::neutral::response::Stop;

/// Collects a response from the events of a stream while they are relayed.
pub struct ResponseCollector {
    response: Option<CachedResponse>,
    finish: Result<(), NotStored>,
    refused: Option<NotStored>,
    text_bytes_max: usize,
}

impl ResponseCollector {
    /// A collector of responses of up to `text_bytes_max` bytes.
    #[must_use]
    pub fn new(text_bytes_max: usize) -> Self {
        Self {
            response: None,
            finish: Err(NotStored::Incomplete),
            refused: None,
            text_bytes_max,
        }
    }

    /// Reads one event. Once the response cannot be stored, further events are ignored.
    pub fn event(&mut self, event: &Event<'_>) {
        if self.refused.is_some() {
            return;
        }
        if let Err(why) = self.take(event) {
            self.refused = Some(why);
            self.response = None;
        }
    }

    fn take(&mut self, event: &Event<'_>) -> Result<(), NotStored> {
        match event {
            Event::Start(start) => {
                self.response = Some(framed(start));
            }
            Event::PartStart { choice, kind, .. } => {
                if *choice != 0 {
                    return Err(NotStored::SeveralChoices);
                }
                fits(*kind)?;
            }
            Event::Delta { delta, .. } => match delta {
                Delta::Text(more) => {
                    let response = self.response.as_mut().ok_or(NotStored::NotAResponse)?;
                    response.push(more);
                    if response.bytes() > self.text_bytes_max {
                        return Err(NotStored::TooLarge);
                    }
                }
                _ => return Err(NotStored::Unrepresentable),
            },
            Event::Logprobs { .. } => return Err(NotStored::Unrepresentable),
            Event::Stop { reason, .. } => self.finish = finished(*reason),
            Event::Usage(usage) => {
                if let Some(response) = &mut self.response {
                    response.usage = Some(*usage);
                }
            }
            Event::Error(_) => return Err(NotStored::Error),
            Event::PartEnd { .. } | Event::Heartbeat | Event::End => {}
        }
        Ok(())
    }

    /// The response of a complete stream.
    ///
    /// # Errors
    /// Why it is not stored.
    pub fn finish(self) -> Result<CachedResponse, NotStored> {
        self.refused.map_or(Ok(()), Err)?;
        self.finish?;
        self.response.ok_or(NotStored::NotAResponse)?.checked()
    }

    /// The stored form of a whole response.
    ///
    /// # Errors
    /// Why it is not stored.
    pub fn response(response: &response::Response<'_>) -> Result<CachedResponse, NotStored> {
        let [choice] = response.choices.as_slice() else {
            return Err(NotStored::SeveralChoices);
        };
        if choice.logprobs.is_some() {
            return Err(NotStored::Unrepresentable);
        }
        finished(choice.stop)?;
        let mut stored = framed(&Start {
            id: response.id,
            model: response.model,
            created: response.created,
            usage: None,
        });
        for part in &choice.parts {
            match part {
                Part::Text {
                    text,
                    citations: None,
                    ..
                } => stored.push(text),
                Part::ToolCall { .. } => return Err(NotStored::ToolCalls),
                _ => return Err(NotStored::Unrepresentable),
            }
        }
        stored.usage = response.usage;
        stored.checked()
    }
}

fn framed(start: &Start<'_>) -> CachedResponse {
    let created = start.created.unwrap_or(0);
    CachedResponse::with_frame(start.id, start.model, None, created, TEXT_BYTES_EXPECTED)
}

fn fits(kind: Kind<'_>) -> Result<(), NotStored> {
    match kind {
        Kind::Text => Ok(()),
        Kind::ToolCall { .. } => Err(NotStored::ToolCalls),
        Kind::Refusal => Err(NotStored::Refusal),
        Kind::Thinking | Kind::Redacted { .. } | Kind::Other => Err(NotStored::Unrepresentable),
    }
}

fn finished(stop: Stop) -> Result<(), NotStored> {
    match stop {
        Stop::End => Ok(()),
        Stop::Length | Stop::WindowFull => Err(NotStored::FinishLength),
        Stop::Refused => Err(NotStored::FinishContentFilter),
        Stop::ToolCalls => Err(NotStored::ToolCalls),
        Stop::Sequence | Stop::Paused | Stop::Failed => Err(NotStored::FinishOther),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn collected(events: &[Event<'_>]) -> Result<CachedResponse, NotStored> {
        let mut collector = ResponseCollector::new(100);
        for event in events {
            collector.event(event);
        }
        collector.finish()
    }

    const STOP: Event<'static> = Event::Stop {
        choice: 0,
        reason: Stop::End,
        sequence: None,
    };

    fn start(kind: Kind<'static>) -> [Event<'static>; 2] {
        [
            Event::Start(Start::default()),
            Event::PartStart {
                part: 0,
                choice: 0,
                kind,
            },
        ]
    }

    fn text(text: &'static str) -> Event<'static> {
        Event::Delta {
            part: 0,
            delta: Delta::Text(text),
        }
    }

    #[test]
    fn only_a_complete_text_is_stored() {
        let [begin, part] = start(Kind::Text);
        let response = collected(&[begin.clone(), part.clone(), text("a"), text("b"), STOP]);
        assert_eq!(response.unwrap().content(), "ab");
        assert_eq!(
            collected(&[begin.clone(), part.clone(), text("a")]),
            Err(NotStored::Incomplete)
        );
        let long: &'static str = "long enough to be refused by a collector of so few bytes as this one here takes, is it not? it is!!";
        let longer = [begin.clone(), part, text(long), text(long), STOP];
        assert_eq!(collected(&longer), Err(NotStored::TooLarge));
        let [_, thought] = start(Kind::Thinking);
        assert_eq!(
            collected(&[begin, thought, text("a"), STOP]),
            Err(NotStored::Unrepresentable)
        );
    }
}
