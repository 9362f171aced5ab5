//! Recognises a stream event that differs from an earlier one in its text only, as most events do: what was found
//! in the earlier event holds for it too, so it need not be searched again. It must not know what the text means.

use crate::runtime::buffer;
use memchr::memmem::Finder;
use std::ops::Range;
use std::sync::LazyLock;

/// The text of a response, in OpenAI's format.
static FIND_TEXT: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("\"content\""));
/// Random padding that OpenAI appends to events, so that their sizes reveal nothing (`stream_options`).
static FIND_PADDING: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("\"obfuscation\""));

/// Bytes of the largest event that becomes a template: the many events of a stream are small. A pooled buffer
/// holds it.
const EVENT_BYTES_MAX: usize = buffer::CLASS_BYTES[0];

/// An event, and where its text and its padding are.
#[derive(Debug)]
pub(crate) struct EventTemplate {
    event: Vec<u8>,
    /// The inside of the string that is the value of `content`.
    text: Range<usize>,
    /// The inside of the string that is the value of `obfuscation`, which comes later; empty, at the end of the
    /// event, if there is none.
    padding: Range<usize>,
}

/// Where the text and the padding are in an event that matches a template.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TemplateMatch {
    text_start: usize,
    text_end: usize,
    padding_end: usize,
}

impl TemplateMatch {
    /// The inside of the event's text, as a JSON string spells it.
    #[must_use]
    pub(crate) fn text(&self) -> Range<usize> {
        self.text_start..self.text_end
    }
}

impl EventTemplate {
    /// `None` if the event has no text, or is large.
    #[must_use]
    pub(crate) fn new(event: &[u8]) -> Option<Self> {
        if event.len() > EVENT_BYTES_MAX {
            return None;
        }
        let text = string_value(event, &FIND_TEXT, 0)?;
        let end = event.len();
        let padding = string_value(event, &FIND_PADDING, text.end).unwrap_or(end..end);
        let mut copy = buffer::take(EVENT_BYTES_MAX);
        copy.extend_from_slice(event);
        Some(Self {
            event: copy,
            text,
            padding,
        })
    }

    /// `None` if `event` differs in more than text and padding.
    #[must_use]
    pub(crate) fn match_event(&self, event: &[u8]) -> Option<TemplateMatch> {
        let text_start = self.text.start;
        let is_equal = |found: Range<usize>, expected: Range<usize>| {
            event
                .get(found)
                .is_some_and(|found| Some(found) == self.event.get(expected))
        };
        if !is_equal(0..text_start, 0..text_start) {
            return None;
        }
        let text_end = string_end(event, text_start)?;
        let padding_start = text_end + (self.padding.start - self.text.end);
        if !is_equal(text_end..padding_start, self.text.end..self.padding.start) {
            return None;
        }
        let padding_end = if self.padding.start < self.event.len() {
            padding_end(event, padding_start)?
        } else {
            padding_start
        };
        let rest = self.padding.end..self.event.len();
        is_equal(padding_end..event.len(), rest).then_some(TemplateMatch {
            text_start,
            text_end,
            padding_end,
        })
    }

    /// Maps an offset of this event, outside of its text and padding, to the event that matched.
    #[must_use]
    pub(crate) fn map_offset(&self, offset: usize, matched: &TemplateMatch) -> usize {
        if offset <= self.text.start {
            offset
        } else if offset <= self.padding.start {
            offset - self.text.end + matched.text_end
        } else {
            offset - self.padding.end + matched.padding_end
        }
    }
}

impl Drop for EventTemplate {
    fn drop(&mut self) {
        buffer::give(std::mem::take(&mut self.event));
    }
}

/// The inside of the string that is the value of the first `key` at or after `from`.
fn string_value(event: &[u8], key: &Finder<'_>, from: usize) -> Option<Range<usize>> {
    let key_end = from + key.find(event.get(from..)?)? + key.needle().len();
    let mut bytes = event.iter().enumerate().skip(key_end);
    let mut next = || bytes.find(|(_, byte)| !byte.is_ascii_whitespace());
    let colon = next()?;
    let (quote, b'"') = next().filter(|_| *colon.1 == b':')? else {
        return None;
    };
    let start = quote + 1;
    Some(start..string_end(event, start)?)
}

/// The end of the string whose inside begins at `start`.
fn string_end(event: &[u8], start: usize) -> Option<usize> {
    let mut offset = start;
    loop {
        let found = offset + memchr::memchr2(b'"', b'\\', event.get(offset..)?)?;
        if event.get(found) == Some(&b'"') {
            return Some(found);
        }
        offset = found + 2;
    }
}

/// The same for padding, which is visible ASCII without escapes: anything else in it does not match.
fn padding_end(event: &[u8], start: usize) -> Option<usize> {
    let inside = event.get(start..)?.iter();
    let is_plain = |byte: &u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\');
    let end = start + inside.take_while(|byte| is_plain(byte)).count();
    (event.get(end) == Some(&b'"')).then_some(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(text: &str, rest: &str) -> Vec<u8> {
        let start = r#"data: {"id":"c","choices":[{"index":0,"delta":{"content": ""#;
        format!("{start}{text}\"}}}}]{rest}}}\n\n").into_bytes()
    }

    #[test]
    fn an_event_matches_only_if_nothing_but_text_and_padding_differs() {
        let padding = |padding: &str| format!(r#","usage":null,"obfuscation":"{padding}""#);
        let template = EventTemplate::new(&event("a", &padding("xyz"))).unwrap();
        for (text, more) in [
            ("", "q"),
            ("a longer one", ""),
            ("\\\"\\\\", "0"),
            ("é", "z_-"),
        ] {
            let other = event(text, &padding(more));
            let matched = template.match_event(&other).unwrap();
            assert_eq!(&other[matched.text()], text.as_bytes());
            let usage = |event: &[u8]| event.windows(7).position(|w| w == b"\"usage\"").unwrap();
            let offset = usage(&template.event);
            assert_eq!(template.map_offset(offset, &matched), usage(&other));
            let end = template.event.len();
            assert_eq!(template.map_offset(end, &matched), other.len());
        }
        for other in [
            [b":", event("a", &padding("xyz")).as_slice()].concat(),
            event("a", ",\"usage\":{},\"obfuscation\":\"xyz\""),
            event("a", ""),
            event("a", &(padding("xyz") + ",\"more\":1")),
            event("a\",\"content\":\"b", &padding("xyz")),
            event("a\\", &padding("xyz")),
            b"data: {".to_vec(),
            Vec::new(),
        ] {
            let text = String::from_utf8(other.clone()).unwrap();
            assert_eq!(template.match_event(&other), None, "{text}");
        }
        let plain = EventTemplate::new(&event("a", "")).unwrap();
        let other = event("bcd", "");
        assert_eq!(
            plain
                .match_event(&other)
                .map(|matched| other[matched.text()].to_vec()),
            Some(b"bcd".to_vec())
        );
        assert_eq!(plain.match_event(&event("b", &padding("x"))), None);
    }

    #[test]
    fn an_event_without_text_is_no_template() {
        for text in [
            "data: {\"choices\":[{\"delta\":{\"content\":null}}]}\n\n",
            "data: {\"a\":\"\\\"content\\\":\\\"b\"}\n\n",
            "data: {\"content\":\"cut",
            "data: {\"content\":\"cut\\",
            "data: [DONE]\n\n",
        ] {
            assert!(EventTemplate::new(text.as_bytes()).is_none(), "{text}");
        }
    }
}
