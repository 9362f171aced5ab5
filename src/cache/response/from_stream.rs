//! An answer read from a stream of OpenAI's. It must not know how the events came.

use crate::cache::response::cached_response::{CachedResponse, TEXT_BYTES_EXPECTED, only};
use crate::cache::response::not_stored::NotStored;
use crate::http::sse::event_data;
use crate::protocols::json::document::{Document, Scratch};
use crate::protocols::usage;
use crate::protocols::usage::Mention;
use std::borrow::Cow;
use std::ops::Range;

/// Reads an answer from the events of a stream as they pass, so that nothing but its text is held.
pub struct StreamReader {
    response: Option<CachedResponse>,
    finish: Result<(), NotStored>,
    refused: Option<NotStored>,
    text_bytes_max: usize,
    /// Where the text stood in the last event that was read whole.
    text_at: Option<usize>,
}

impl StreamReader {
    /// A reader of answers of up to `text_bytes_max` bytes.
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

    /// Takes in an event that differs in nothing but the string whose inside stands at `text` from the last
    /// one that [`StreamReader::event`] was given.
    pub fn like_last(&mut self, event: &[u8], text: Range<usize>, scratch: &mut Scratch) {
        let quoted = event.get(text.start.saturating_sub(1)..text.end + 1);
        let is_content = self.text_at == Some(text.start);
        // One with escapes is read like any other.
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

    /// Takes in one event. Once it is clear that the stream is not stored, nothing more is read.
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
                self.text_at = at.map(|at| before.wrapping_add(at))
            }
            Ok(_) => {}
            Err(why) => self.refuse(why),
        }
    }

    /// The answer, once the stream is complete.
    ///
    /// # Errors
    /// Why it is not stored.
    pub fn finish(self) -> Result<CachedResponse, NotStored> {
        self.refused.map_or(Ok(()), Err)?;
        self.finish?;
        self.response.ok_or(NotStored::NotAResponse)?.checked()
    }
}

/// Where the text of a chunk stands in it.
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
