//! Reads a response for the store from a stream in OpenAI's format. It must not know how the events arrived.

use crate::cache::response::cached_response::{CachedResponse, TEXT_BYTES_EXPECTED, only};
use crate::cache::response::not_stored::NotStored;
use crate::http::sse::event_data;
use crate::protocols::json::document::{Document, Scratch};
use crate::protocols::usage;
use crate::protocols::usage::Mention;
use std::borrow::Cow;
use std::ops::Range;

/// Reads a response from the events of a stream while they are relayed, and stores only its text.
pub struct StreamReader {
    response: Option<CachedResponse>,
    finish: Result<(), NotStored>,
    refused: Option<NotStored>,
    text_bytes_max: usize,
    /// The position of the text in the last event that was parsed completely.
    text_at: Option<usize>,
}

impl StreamReader {
    /// A reader of responses of up to `text_bytes_max` bytes.
    #[must_use]
    pub fn new(text_bytes_max: usize) -> Self {
        Self {
            response: None,
            finish: Err(NotStored::Incomplete),
            refused: None,
            text_bytes_max,
            text_at: None,
        }
    }

    /// Reads an event that differs from the last event passed to [`StreamReader::event`] only in the content of the
    /// string at `text`.
    pub fn like_last(&mut self, event: &[u8], text: Range<usize>, scratch: &mut Scratch) {
        let quoted = event.get(text.start.saturating_sub(1)..text.end + 1);
        let is_content = self.text_at == Some(text.start);
        // A string with escapes is parsed like any other event.
        let plain = quoted.filter(|_| is_content).map(serde_json::from_slice);
        match (&mut self.response, plain) {
            (Some(response), Some(Ok(more))) => {
                response.push(more);
                if response.bytes() > self.text_bytes_max {
                    self.refuse(NotStored::TooLarge);
                }
            }
            _ => self.event(event, scratch),
        }
    }

    fn refuse(&mut self, why: NotStored) {
        self.refused = Some(why);
        self.response = None;
    }

    /// Reads one event. Once the response cannot be stored, further events are ignored.
    pub fn event(&mut self, event: &[u8], scratch: &mut Scratch) {
        if self.refused.is_some() {
            return;
        }
        let Some(data) = event_data(event) else {
            return;
        };
        if data.trim_ascii() == b"[DONE]" {
            return;
        }
        let before = (data.as_ptr() as usize).wrapping_sub(event.as_ptr() as usize);
        self.text_at = None;
        let read = scratch
            .with_document(&data, |document| {
                let response = self
                    .response
                    .get_or_insert_with(|| CachedResponse::frame(document, TEXT_BYTES_EXPECTED));
                if let Some(Mention::Object(usage)) = usage::find(&data) {
                    response.usage = Some(usage);
                }
                response.take_chunk(document, &mut self.finish)?;
                if response.bytes() > self.text_bytes_max {
                    return Err(NotStored::TooLarge);
                }
                Ok(text_at(document))
            })
            .unwrap_or(Err(NotStored::Unparsable));
        match read {
            Ok(at) if matches!(data, Cow::Borrowed(_)) => {
                self.text_at = at.map(|at| before.wrapping_add(at));
            }
            Ok(_) => {}
            Err(why) => self.refuse(why),
        }
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
}

/// The position of the text in a chunk.
fn text_at(document: &Document<'_>) -> Option<usize> {
    let choice = only(document, document.field(0, "choices")?).ok()?;
    let delta = document.field(choice, "delta")?;
    document.offset_of(document.text_of(delta, "content")?)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::http::sse::SseSplitter;

    pub(crate) fn from_stream(events: &[u8]) -> Result<CachedResponse, NotStored> {
        let (mut splitter, mut scratch) = (SseSplitter::new(), Scratch::default());
        let mut reader = StreamReader::new(10_000);
        let mut rest = events;
        while let Ok(Some(length)) = splitter.next_event(rest) {
            let (event, after) = rest.split_at(length);
            reader.event(event, &mut scratch);
            rest = after;
        }
        reader.finish()
    }
}
