//! Events of a stream that are alike but for a text or two, which most are. What was found in one is true
//! of the others, so they need not be searched again. It must not know what the texts mean.

use crate::runtime::buffer;
use memchr::memmem::Finder;
use std::ops::Range;
use std::sync::LazyLock;

/// The text of an answer, in OpenAI's dialect.
static FIND_TEXT: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("\"content\""));
/// What OpenAI puts behind each event, so that their sizes tell nothing (`stream_options`).
static FIND_NOISE: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("\"obfuscation\""));

/// Bytes of the largest event that is kept: a stream's many events are small. A pooled buffer holds it.
const EVENT_BYTES_MAX: usize = buffer::CLASS_BYTES[0];

/// An event with its texts cut out.
#[derive(Debug)]
pub(crate) struct Template {
    event: Vec<u8>,
    /// The inside of the string behind `content`.
    text: Range<usize>,
    /// That of the one behind `obfuscation`, which comes later; empty, at the end, if there is none.
    noise: Range<usize>,
}

/// Another event that fits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fit {
    /// Where its text begins.
    start: usize,
    /// Where its text ends.
    text_end: usize,
    noise_end: usize,
}

impl Fit {
    /// Where its text stands, as it is written.
    #[must_use]
    pub(crate) fn text(&self) -> Range<usize> {
        self.start..self.text_end
    }
}

impl Template {
    /// The template that `event` is of; `None` if it has no text, or is large.
    #[must_use]
    pub(crate) fn of(event: &[u8]) -> Option<Self> {
        if event.len() > EVENT_BYTES_MAX {
            return None;
        }
        let text = string_behind(event, &FIND_TEXT, 0)?;
        let end = event.len();
        let noise = string_behind(event, &FIND_NOISE, text.end).unwrap_or(end..end);
        let mut kept = buffer::take(EVENT_BYTES_MAX);
        kept.extend_from_slice(event);
        Some(Self {
            event: kept,
            text,
            noise,
        })
    }

    /// Whether `event` differs in nothing but the texts.
    #[must_use]
    pub(crate) fn fit(&self, event: &[u8]) -> Option<Fit> {
        let start = self.text.start;
        let is_equal = |found: Range<usize>, wanted: Range<usize>| {
            event
                .get(found)
                .is_some_and(|found| Some(found) == self.event.get(wanted))
        };
        if !is_equal(0..start, 0..start) {
            return None;
        }
        let text_end = string_end(event, start)?;
        let noise_start = text_end + (self.noise.start - self.text.end);
        if !is_equal(text_end..noise_start, self.text.end..self.noise.start) {
            return None;
        }
        let has_noise = self.noise.start < self.event.len();
        let noise_end = match has_noise {
            true => plain_end(event, noise_start)?,
            false => noise_start,
        };
        let rest = self.noise.end..self.event.len();
        is_equal(noise_end..event.len(), rest).then_some(Fit {
            start,
            text_end,
            noise_end,
        })
    }

    /// Where the byte stands in an event that fits which stands at `at` in this one, outside of its texts.
    #[must_use]
    pub(crate) fn place(&self, at: usize, fit: &Fit) -> usize {
        if at <= self.text.start {
            at
        } else if at <= self.noise.start {
            at - self.text.end + fit.text_end
        } else {
            at - self.noise.end + fit.noise_end
        }
    }
}

impl Drop for Template {
    fn drop(&mut self) {
        buffer::give(std::mem::take(&mut self.event));
    }
}

/// The inside of the string that is the value of a key, from `from` on.
fn string_behind(event: &[u8], key: &Finder<'_>, from: usize) -> Option<Range<usize>> {
    let at = from + key.find(event.get(from..)?)? + key.needle().len();
    let mut letters = event.iter().enumerate().skip(at);
    let mut next = || letters.find(|(_, byte)| !byte.is_ascii_whitespace());
    let colon = next()?;
    let (quote, b'"') = next().filter(|_| *colon.1 == b':')? else {
        return None;
    };
    let start = quote + 1;
    Some(start..string_end(event, start)?)
}

/// Where the string ends whose inside begins at `from`.
fn string_end(event: &[u8], from: usize) -> Option<usize> {
    let mut at = from;
    loop {
        let found = at + memchr::memchr2(b'"', b'\\', event.get(at..)?)?;
        if event.get(found) == Some(&b'"') {
            return Some(found);
        }
        at = found + 2;
    }
}

/// The same of one that is but visible ASCII without escapes, as noise is: nothing in it can be wrong.
fn plain_end(event: &[u8], from: usize) -> Option<usize> {
    let inside = event.get(from..)?.iter();
    let is_plain = |byte: &u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\');
    let end = from + inside.take_while(|byte| is_plain(byte)).count();
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
    fn only_the_texts_may_differ() {
        let noise = |noise: &str| format!(r#","usage":null,"obfuscation":"{noise}""#);
        let template = Template::of(&event("a", &noise("xyz"))).unwrap();
        for (text, more) in [
            ("", "q"),
            ("a longer one", ""),
            ("\\\"\\\\", "0"),
            ("é", "z_-"),
        ] {
            let other = event(text, &noise(more));
            let fit = template.fit(&other).unwrap();
            assert_eq!(&other[fit.text()], text.as_bytes());
            let usage = |event: &[u8]| event.windows(7).position(|w| w == b"\"usage\"").unwrap();
            let at = usage(&template.event);
            assert_eq!(template.place(at, &fit), usage(&other));
            let end = template.event.len();
            assert_eq!(template.place(end, &fit), other.len());
        }
        for other in [
            [b":", event("a", &noise("xyz")).as_slice()].concat(),
            event("a", ",\"usage\":{},\"obfuscation\":\"xyz\""),
            event("a", ""),
            event("a", &(noise("xyz") + ",\"more\":1")),
            event("a\",\"content\":\"b", &noise("xyz")),
            event("a\\", &noise("xyz")),
            b"data: {".to_vec(),
            Vec::new(),
        ] {
            let text = String::from_utf8(other.clone()).unwrap();
            assert_eq!(template.fit(&other), None, "{text}");
        }
        let plain = Template::of(&event("a", "")).unwrap();
        let other = event("bcd", "");
        assert_eq!(
            plain.fit(&other).map(|fit| other[fit.text()].to_vec()),
            Some(b"bcd".to_vec())
        );
        assert_eq!(plain.fit(&event("b", &noise("x"))), None);
    }

    #[test]
    fn what_has_no_text_is_no_template() {
        for text in [
            "data: {\"choices\":[{\"delta\":{\"content\":null}}]}\n\n",
            "data: {\"a\":\"\\\"content\\\":\\\"b\"}\n\n",
            "data: {\"content\":\"cut",
            "data: {\"content\":\"cut\\",
            "data: [DONE]\n\n",
        ] {
            assert!(Template::of(text.as_bytes()).is_none(), "{text}");
        }
    }
}
