//! Relays a stream of events in OpenAI's format from provider to client.
//!
//! Events are forwarded byte for byte as soon as they are complete, all that arrived together in one write. Each is
//! searched for the usage, which the client sees only if it wants it, and for the end of the stream.

use crate::gateway::transform::event_template::{EventTemplate, TemplateMatch};
use crate::http::sse::{SseSplitter, event_data};
use crate::protocols::request::request_shape::BYTES_PER_TOKEN;
use crate::protocols::usage;
use crate::protocols::usage::{Mention, Usage};
use memchr::memmem::Finder;
use std::ops::Range;
use std::sync::LazyLock;

/// Built once: building a finder costs more than searching a short event.
static FIND_DONE: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("[DONE]"));
static FIND_ERROR: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("\"error\""));
static FIND_FINISH: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(FINISH_KEY));
static FIND_CHOICES: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(CHOICES_KEY));
const FINISH_KEY: &[u8] = b"\"finish_reason\"";
const CHOICES_KEY: &[u8] = b"\"choices\"";

/// One relayed stream.
pub struct StreamRelay {
    splitter: SseSplitter,
    /// Bytes of an event that is not complete yet.
    pending: Vec<u8>,
    show_usage: bool,
    usage: Option<Usage>,
    progress: StreamProgress,
    events: u64,
    event_bytes: u64,
    smallest_event_bytes: u64,
    /// The last event that was searched, if it has a text.
    last: Option<SearchedEvent>,
}

/// What the events have said about the end of the stream.
#[derive(Debug, Clone, Copy, Default)]
struct StreamProgress {
    has_finish_reason: bool,
    /// `[DONE]` arrived: nothing follows.
    is_done: bool,
    /// The provider sent an error event.
    has_failed: bool,
}

/// What was found in an event; it holds for events that match its template.
struct SearchedEvent {
    template: EventTemplate,
    /// The part that the client does not see.
    hidden: Option<Range<usize>>,
}

/// An event exceeds the size limit: the stream cannot go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventTooLarge;

impl StreamRelay {
    /// `show_usage`: the client wants to see the usage.
    #[must_use]
    pub fn new(show_usage: bool) -> Self {
        Self {
            splitter: SseSplitter::new(),
            pending: Vec::new(),
            show_usage,
            usage: None,
            progress: StreamProgress::default(),
            events: 0,
            event_bytes: 0,
            smallest_event_bytes: u64::MAX,
            last: None,
        }
    }

    /// Another relay for the same stream, from the next event on: it knows the usage and the progress of this one.
    #[must_use]
    pub fn fork(&self) -> Self {
        Self {
            splitter: SseSplitter::new(),
            pending: Vec::new(),
            events: 0,
            last: None,
            ..*self
        }
    }

    /// Takes in what arrived (emptied) and appends what the client gets. `observe` is called with each event as it
    /// arrived; with the range of its text, if it differs in nothing but its text from the last event that came
    /// without a range.
    ///
    /// # Errors
    /// One event exceeds the limit.
    pub fn feed(
        &mut self,
        arrived: &mut Vec<u8>,
        out: &mut Vec<u8>,
        mut observe: impl FnMut(&[u8], Option<Range<usize>>),
    ) -> Result<(), EventTooLarge> {
        if self.pending.is_empty() {
            std::mem::swap(&mut self.pending, arrived);
        } else {
            self.pending.append(arrived);
        }
        let pending = std::mem::take(&mut self.pending);
        let mut from = 0;
        let outcome = loop {
            let rest = pending.get(from..).unwrap_or_default();
            match self.splitter.next_event(rest) {
                Ok(Some(length)) => {
                    let event = rest.get(..length).unwrap_or_default();
                    let matched = self.event(event, out);
                    observe(event, matched.map(|matched| matched.text()));
                    from += length;
                }
                Ok(None) => break Ok(()),
                Err(_) => break Err(EventTooLarge),
            }
        };
        self.pending = pending;
        self.pending.drain(..from);
        outcome
    }

    /// The provider's body ended: a last event without its blank line still counts.
    pub fn end(&mut self, out: &mut Vec<u8>, mut observe: impl FnMut(&[u8], Option<Range<usize>>)) {
        if !self.pending.trim_ascii().is_empty() {
            let mut last = std::mem::take(&mut self.pending);
            last.extend_from_slice(b"\n\n");
            let matched = self.event(&last, out);
            observe(&last, matched.map(|matched| matched.text()));
        }
    }

    /// Relays one event; returns how it matches the last one that was searched, if it does.
    fn event(&mut self, event: &[u8], out: &mut Vec<u8>) -> Option<TemplateMatch> {
        self.events += 1;
        self.event_bytes += event.len() as u64;
        self.smallest_event_bytes = self.smallest_event_bytes.min(event.len() as u64);
        if let Some(SearchedEvent { template, hidden }) = &self.last
            && let Some(matched) = template.match_event(event)
        {
            let map = |offset| template.map_offset(offset, &matched);
            let hidden = hidden
                .as_ref()
                .map(|hidden| map(hidden.start)..map(hidden.end));
            append_visible(event, hidden, out);
            return Some(matched);
        }
        self.progress.note(event);
        let hidden = self.find_hidden(event);
        append_visible(event, hidden.clone(), out);
        // Gives the buffer back before the next template takes one.
        self.last = None;
        self.last = EventTemplate::new(event).map(|template| SearchedEvent { template, hidden });
        None
    }

    /// The part of an event that a client which does not want usage does not see. Notes the usage.
    fn find_hidden(&mut self, event: &[u8]) -> Option<Range<usize>> {
        match usage::find(event)? {
            Mention::Object(usage) => {
                // Some providers repeat it; the last one counts.
                self.usage = Some(usage);
                let hides = !self.show_usage && has_no_choices(event);
                hides.then_some(0..event.len())
            }
            Mention::Null { start, end } => (!self.show_usage).then_some(start..end),
        }
    }

    /// Whether the stream came to its end: `[DONE]`, or at least a finish reason, and no error.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        let StreamProgress {
            has_finish_reason,
            is_done,
            has_failed,
        } = self.progress;
        (is_done || has_finish_reason) && !has_failed
    }

    /// Whether the provider reported by an event that it failed.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.progress.has_failed
    }

    /// Whether `[DONE]` arrived: nothing follows.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.progress.is_done
    }

    /// The usage that the provider has reported so far.
    #[must_use]
    pub fn usage(&self) -> Option<Usage> {
        self.usage
    }

    /// Estimated completion tokens until now, for a stream that reports no usage: one per event, or one per
    /// [`BYTES_PER_TOKEN`] of what its events hold beyond the smallest of them, if that is more.
    #[must_use]
    pub fn tokens_estimated(&self) -> u64 {
        let frame = self.smallest_event_bytes.saturating_mul(self.events);
        let content_bytes = self.event_bytes.saturating_sub(frame);
        self.events.max(content_bytes.div_ceil(BYTES_PER_TOKEN))
    }

    /// Events that have arrived.
    #[must_use]
    pub fn events(&self) -> u64 {
        self.events
    }
}

impl StreamProgress {
    /// Searches an event for the end of the stream. Raw quotes cannot occur inside a JSON string, so a match is a key.
    fn note(&mut self, event: &[u8]) {
        if !self.has_finish_reason {
            self.has_finish_reason = has_finish_reason(event);
        }
        if !self.is_done && FIND_DONE.find(event).is_some() {
            self.is_done = event_data(event).is_some_and(|data| data.trim_ascii() == b"[DONE]");
        }
        if FIND_ERROR.find(event).is_some() {
            self.has_failed |= event_data(event).is_some_and(|data| is_error(&data));
        }
    }
}

fn append_visible(event: &[u8], hidden: Option<Range<usize>>, out: &mut Vec<u8>) {
    let hidden = hidden.unwrap_or(event.len()..event.len());
    out.extend_from_slice(event.get(..hidden.start).unwrap_or_default());
    out.extend_from_slice(event.get(hidden.end..).unwrap_or_default());
}

/// `"finish_reason":` followed by a string.
fn has_finish_reason(event: &[u8]) -> bool {
    let mut rest = event;
    while let Some(key_start) = FIND_FINISH.find(rest) {
        rest = rest.get(key_start + FINISH_KEY.len()..).unwrap_or_default();
        let mut value = rest.iter().filter(|byte| !byte.is_ascii_whitespace());
        if value.next() == Some(&b':') && value.next() == Some(&b'"') {
            return true;
        }
    }
    false
}

/// `"choices":[]`
fn has_no_choices(event: &[u8]) -> bool {
    let Some(key_start) = FIND_CHOICES.find(event) else {
        return false;
    };
    let rest = event
        .get(key_start + CHOICES_KEY.len()..)
        .unwrap_or_default();
    let mut value = rest.iter().filter(|byte| !byte.is_ascii_whitespace());
    [value.next(), value.next(), value.next()] == [Some(&b':'), Some(&b'['), Some(&b']')]
}

/// A top-level `error` that is not null.
fn is_error(data: &[u8]) -> bool {
    #[derive(serde::Deserialize)]
    struct Event {
        error: Option<serde::de::IgnoredAny>,
    }
    serde_json::from_slice::<Event>(data).is_ok_and(|event| event.error.is_some())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::random::mix;
    use crate::cache::response::from_stream::StreamReader;
    use crate::protocols::json::document::Scratch;

    const STREAM: &str = concat!(
        "data: {\"choices\":[{\"delta\":{\"content\":\"say \\\"usage\\\":null\"}}],\"usage\":null}\n\n",
        ": ping\n\n",
        "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}],\"usage\":null}\r\n\r\n",
        "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":2}}\n\n",
        "data: [DONE]\n\n",
    );

    fn relayed(show_usage: bool, split: usize) -> (String, StreamRelay) {
        let mut relay = StreamRelay::new(show_usage);
        let (mut out, mut watched) = (Vec::new(), Vec::new());
        for part in [&STREAM[..split], &STREAM[split..]] {
            let seen = |event: &[u8], _: Option<Range<usize>>| watched.extend_from_slice(event);
            relay
                .feed(&mut part.as_bytes().to_vec(), &mut out, seen)
                .unwrap();
        }
        relay.end(&mut out, |_, _| {});
        assert_eq!(watched, STREAM.as_bytes());
        (String::from_utf8(out).unwrap(), relay)
    }

    #[test]
    fn usage_is_noted_and_hidden_from_who_did_not_ask_at_any_split() {
        for split in 0..=STREAM.len() {
            let (shown, relay) = relayed(true, split);
            assert_eq!(shown, STREAM);
            assert!(relay.is_complete() && relay.is_done());
            let usage = relay.usage().unwrap();
            assert_eq!((usage.prompt, usage.completion), (3, 2));
            let (hidden, _) = relayed(false, split);
            assert!(!hidden.contains(",\"usage\":null}"), "{hidden}");
            assert!(!hidden.contains("prompt_tokens"));
            assert!(hidden.contains("say \\\"usage\\\":null"));
            assert!(hidden.ends_with("data: [DONE]\n\n"));
        }
    }

    #[test]
    fn a_stream_without_its_end_is_not_complete() {
        for cut in ["data: {\"choices\":[{\"finish_reason\":null}]}\n\n", ""] {
            let mut relay = StreamRelay::new(true);
            let mut out = Vec::new();
            relay
                .feed(&mut cut.as_bytes().to_vec(), &mut out, |_, _| {})
                .unwrap();
            relay.end(&mut out, |_, _| {});
            assert!(!relay.is_complete());
        }
    }

    /// Events as OpenAI and others send them; `@` stands for a text.
    const KINDS: [&str; 12] = [
        r#"data: {"id":"c","created":7,"model":"m","choices":[{"index":0,"delta":{"content":"@"},"finish_reason":null}]}"#,
        r#"data: {"id":"c","created":7,"model":"m","choices":[{"index":0,"delta":{"content":"@"},"finish_reason":null}],"usage":null,"obfuscation":"@"}"#,
        r#"data: {"usage": null ,"choices":[{"delta": {"content" : "@"}}]}"#,
        r#"data: {"choices":[{"delta":{"role":"assistant","content":"@"},"finish_reason":null}]}"#,
        r#"data: {"choices":[{"delta":{"content":"@"},"finish_reason":"stop"}],"usage":{"prompt_tokens":3,"completion_tokens":2}}"#,
        r#"data: {"note":{"content":"@"},"choices":[{"delta":{"content":"@"}}]}"#,
        r#"data: {"choices":[{"delta":{"x":"\"content\":\"@","content":"@"}}]}"#,
        r#"data: {"choices":[{"index":1,"delta":{"content":"@"}}]}"#,
        r#"data: {"choices":[{"delta":{"content":"@"}}],"error":{"message":"@"}}"#,
        r#"data: {"choices":[],"usage":{"prompt_tokens":5,"completion_tokens":9}}"#,
        "data: {\"choices\":[{\"delta\":\ndata: {\"content\":\"@\"}}]}",
        r#"data: {"choices":[{"delta":{"content":"@}}]}"#,
    ];
    const TEXTS: [&str; 9] = [
        "",
        "a",
        " word",
        "é😀",
        r#"\"q\" \n \u00e9"#,
        r"\ud83d",
        "\u{1}",
        "[DONE]",
        r"\",
    ];

    /// The stream's outcome, read by one relay and one reader, or by new ones that remember nothing.
    fn outcome(events: &[String], shows: bool, remembers: bool) -> String {
        let mut scratch = Scratch::default();
        let mut relay = StreamRelay::new(shows);
        let mut reader = StreamReader::new(400);
        let mut out = Vec::new();
        for event in events {
            let mut arrived = event.clone().into_bytes();
            let watch = |event: &[u8], text: Option<Range<usize>>| match text {
                Some(text) if remembers => reader.like_last(event, text, &mut scratch),
                _ => reader.event(event, &mut scratch),
            };
            relay.feed(&mut arrived, &mut out, watch).unwrap();
            if !remembers {
                relay.last = None;
            }
        }
        let (text, usage) = (String::from_utf8_lossy(&out), relay.usage());
        let ends = (relay.is_complete(), relay.has_failed(), relay.is_done());
        let tokens = (relay.events(), relay.tokens_estimated());
        format!("{text}{usage:?}{ends:?}{tokens:?}{:?}", reader.finish())
    }

    #[test]
    fn templates_do_not_change_the_relayed_stream() {
        let mut good = 0;
        for seed in 0..2000u64 {
            let mut drawn = seed;
            let mut draw = |count: usize| {
                drawn = mix(drawn, 3);
                usize::try_from(drawn % count as u64).unwrap()
            };
            let texts = if draw(2) == 0 { 5 } else { TEXTS.len() };
            // Few kinds in one stream, so that many events match the template of an earlier one.
            let kinds = [KINDS[draw(12)], KINDS[draw(4)], KINDS[draw(4)]];
            let mut events: Vec<String> = (0..8)
                .map(|_| {
                    let kind = kinds[draw(3)];
                    let (first, second) = (TEXTS[draw(texts)], TEXTS[draw(texts)]);
                    kind.replacen('@', first, 1).replace('@', second) + "\n\n"
                })
                .collect();
            events.push(KINDS[4].to_owned() + "\n\n");
            events.push("data: [DONE]\n\n".into());
            for shows in [false, true] {
                let remembered = outcome(&events, shows, true);
                assert_eq!(remembered, outcome(&events, shows, false), "{events:?}");
                good += usize::from(remembered.contains("Ok("));
            }
        }
        assert!(good > 100, "{good}");
    }

    #[test]
    fn an_error_event_is_no_success() {
        let mut relay = StreamRelay::new(true);
        let mut out = Vec::new();
        let event = b"data: {\"error\":{\"message\":\"x\"}}\n\ndata: [DONE]\n\n";
        relay
            .feed(&mut event.to_vec(), &mut out, |_, _| {})
            .unwrap();
        assert!(!relay.is_complete() && relay.has_failed());
        assert_eq!(out, event);
    }
}
