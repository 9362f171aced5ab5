//! The mock's answers: deterministic, and recognisable.

use super::behaviour::Behaviour;
use super::{gemini, messages};
use ringside::protocols::json::document::{write_string, write_u64};
use xxhash_rust::xxh3::xxh3_64;

/// Seconds since the Unix epoch that every answer bears.
pub const CREATED: u64 = 1_700_000_000;

/// Questions with an answer of their own are short; longer ones are not searched.
const KNOWN_BYTES_MAX: usize = 1000;

/// What is to be answered.
pub struct ChatRequest<'a> {
    /// Model asked for.
    pub model: &'a str,
    /// Text of the last user message.
    pub question: &'a str,
    /// The id of the answer, see [`answer_id`].
    pub id: &'a str,
    /// Name of the tool to be called, if one is to be.
    pub tool: Option<&'a str>,
    /// Usage is to be reported in a stream.
    pub wants_usage: bool,
    /// The dialect it is asked in.
    pub dialect: Dialect,
}

/// A dialect of the mock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// OpenAI's.
    Chat,
    /// Anthropic's.
    Messages,
    /// Google's.
    Gemini,
}

/// The events of a stream, one after the other.
#[derive(Default)]
pub struct Events {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Events {
    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.ends.len()
    }

    /// The bytes of each.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        let positions = starts.zip(self.ends.iter().copied());
        positions.map(|(start, end)| self.bytes.get(start..end).unwrap_or_default())
    }

    /// Appends an event as it is.
    pub fn push_raw(&mut self, event: &[u8]) {
        self.bytes.extend_from_slice(event);
        self.ends.push(self.bytes.len());
    }

    fn push(&mut self, pieces: &[&[u8]]) {
        self.bytes.extend_from_slice(b"data: ");
        for piece in pieces {
            self.bytes.extend_from_slice(piece);
        }
        self.bytes.extend_from_slice(b"\n\n");
        self.ends.push(self.bytes.len());
    }
}

/// The id that an answer to `question` carries.
#[must_use]
pub fn answer_id(question: &str) -> String {
    format!("answer-{:016x}", answer_number(question))
}

/// The number in that id.
#[must_use]
pub fn answer_number(question: &str) -> u64 {
    xxh3_64(question.as_bytes())
}

/// The words of the answer; the first is its id.
#[must_use]
pub fn words<'a>(question: &str, id: &'a str, tokens: usize) -> Vec<&'a str> {
    let capitals = [
        ("france", "The capital of France is Paris."),
        ("japan", "The capital of Japan is Tokyo."),
    ];
    let is_short = question.len() <= KNOWN_BYTES_MAX;
    let says = |word: &str| is_short && contains_word(question, word);
    let known = capitals.iter().filter(|_| says("capital"));
    let natural = known
        .clone()
        .find(|(country, _)| says(country))
        .map_or("This is the bundled mock provider.", |(_, text)| text);
    let sentence: Vec<&str> = std::iter::once(id).chain(natural.split(' ')).collect();
    let wanted = if tokens == 0 { sentence.len() } else { tokens };
    let filler = std::iter::repeat("word");
    sentence
        .iter()
        .copied()
        .chain(filler)
        .take(wanted)
        .collect()
}

/// Whether `text` holds `word`, which is in small letters, in any letters; without a copy of `text`.
fn contains_word(text: &str, word: &str) -> bool {
    let mut windows = text.as_bytes().windows(word.len());
    windows.any(|window| window.eq_ignore_ascii_case(word.as_bytes()))
}

/// A whole answer.
#[must_use]
pub fn whole(request_read: &ChatRequest<'_>, behaviour: &Behaviour) -> Vec<u8> {
    match request_read.dialect {
        Dialect::Chat => {}
        Dialect::Messages => return messages::whole(request_read, behaviour),
        Dialect::Gemini => return gemini::whole(request_read, behaviour),
    }
    let mut out = Vec::with_capacity(1024);
    let words = words(request_read.question, request_read.id, behaviour.tokens);
    frame(&mut out, request_read, "chat.completion");
    out.extend_from_slice(
        b",\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":",
    );
    let finish = match request_read.tool {
        None => {
            write_string(&mut out, &words.join(" "));
            behaviour.finish.as_str()
        }
        Some(tool) => {
            out.extend_from_slice(b"null,\"tool_calls\":[{\"id\":\"call_1\",\"type\":\"function\",\"function\":{\"name\":");
            write_string(&mut out, tool);
            out.extend_from_slice(b",\"arguments\":\"{\\\"city\\\": \\\"Paris\\\"}\"}}]");
            "tool_calls"
        }
    };
    out.extend_from_slice(b",\"refusal\":null},\"logprobs\":null,\"finish_reason\":");
    write_string(&mut out, finish);
    out.extend_from_slice(b"}]");
    if !behaviour.no_usage {
        write_usage(&mut out, request_read, words.len());
    }
    out.push(b'}');
    out
}

/// The events of a stream.
#[must_use]
pub fn events(request_read: &ChatRequest<'_>, behaviour: &Behaviour) -> Events {
    match request_read.dialect {
        Dialect::Chat => {}
        Dialect::Messages => return messages::events(request_read, behaviour),
        Dialect::Gemini => return gemini::events(request_read, behaviour),
    }
    let words = words(request_read.question, request_read.id, behaviour.tokens);
    let mut before = Vec::with_capacity(256);
    frame(&mut before, request_read, "chat.completion.chunk");
    let bare = before.clone();
    before.extend_from_slice(b",\"choices\":[{\"index\":0,\"delta\":");
    let after: &[u8] = if request_read.wants_usage {
        b"}],\"usage\":null}"
    } else {
        b"}]}"
    };
    let mut events = Events {
        bytes: Vec::with_capacity((words.len() + 4) * (before.len() + 80)),
        ends: Vec::with_capacity(words.len() + 4),
    };
    let more: &[u8] = b",\"logprobs\":null,\"finish_reason\":null";
    let role: &[u8] = b"{\"role\":\"assistant\",\"content\":\"\"}";
    events.push(&[&before, role, more, after]);
    let mut finish = behaviour.finish.as_str();
    if let Some(tool) = request_read.tool {
        finish = "tool_calls";
        let name = serde_json::Value::from(tool);
        let call = format!(
            "{{\"tool_calls\":[{{\"index\":0,\"id\":\"call_1\",\"type\":\"function\",\"function\":{{\"name\":{name},\"arguments\":\"\"}}}}]}}"
        );
        events.push(&[&before, call.as_bytes(), more, after]);
        for piece in ["{\\\"city\\\":", " \\\"Paris\\\"}"] {
            let part = format!(
                "{{\"tool_calls\":[{{\"index\":0,\"function\":{{\"arguments\":\"{piece}\"}}}}]}}"
            );
            events.push(&[&before, part.as_bytes(), more, after]);
        }
    } else {
        for (at, word) in words.iter().enumerate() {
            if at == words.len() / 2 && behaviour.malformed {
                events.push(&[&before, b"{\"content\":"]);
            }
            if at == words.len() / 2 && behaviour.error_event {
                events.push(&[b"{\"error\":{\"message\":\"the mock was told to fail\",\"type\":\"server_error\",\"code\":\"mock_error\"}}"]);
                return events;
            }
            let start: &[u8] = if at == 0 {
                b"{\"content\":\""
            } else {
                b"{\"content\":\" "
            };
            events.push(&[&before, start, word.as_bytes(), b"\"}", more, after]);
        }
    }
    if behaviour.truncate {
        return events;
    }
    let mut last = b"{},\"logprobs\":null,\"finish_reason\":".to_vec();
    write_string(&mut last, finish);
    events.push(&[&before, &last, after]);
    if request_read.wants_usage && !behaviour.no_usage {
        let mut usage = b",\"choices\":[]".to_vec();
        write_usage(&mut usage, request_read, words.len());
        events.push(&[&bare, &usage, b"}"]);
    }
    if !behaviour.no_done {
        events.push(&[b"[DONE]"]);
    }
    events
}

fn frame(out: &mut Vec<u8>, request_read: &ChatRequest<'_>, object: &str) {
    out.extend_from_slice(b"{\"id\":\"chatcmpl-");
    out.extend_from_slice(request_read.id.as_bytes());
    out.extend_from_slice(b"\",\"object\":\"");
    out.extend_from_slice(object.as_bytes());
    out.extend_from_slice(b"\",\"created\":");
    write_u64(out, CREATED);
    out.extend_from_slice(b",\"model\":");
    write_string(out, request_read.model);
    out.extend_from_slice(b",\"system_fingerprint\":\"fp_mock\"");
}

/// Words by ASCII white space: where one ends and none is before. Written so that it is done many
/// bytes at a time.
#[must_use]
pub fn count_words(text: &str) -> usize {
    let is_space = |byte: &u8| *byte == b' ' || (*byte >= b'\t' && *byte <= b'\r');
    let bytes = text.as_bytes();
    let begins = bytes.first().is_some_and(|first| !is_space(first));
    let later = bytes.iter().zip(bytes.iter().skip(1));
    let starts = later.filter(|(before, byte)| is_space(before) && !is_space(byte));
    usize::from(begins) + starts.count()
}

fn write_usage(out: &mut Vec<u8>, request_read: &ChatRequest<'_>, completion: usize) {
    let prompt = count_words(request_read.question);
    for (name, count) in [
        (",\"usage\":{\"prompt_tokens\":", prompt),
        (",\"completion_tokens\":", completion),
        (",\"total_tokens\":", prompt + completion),
    ] {
        out.extend_from_slice(name.as_bytes());
        write_u64(out, count as u64);
    }
    out.push(b'}');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_and_stream_say_the_same() {
        let request_read = ChatRequest {
            model: "m",
            question: "What is the Capital of France?",
            id: &answer_id("What is the Capital of France?"),
            tool: None,
            wants_usage: true,
            dialect: Dialect::Chat,
        };
        let behaviour = Behaviour::default();
        let whole: serde_json::Value =
            serde_json::from_slice(&whole(&request_read, &behaviour)).unwrap();
        let streamed: String = events(&request_read, &behaviour)
            .iter()
            .filter_map(|event| {
                let text = std::str::from_utf8(event).unwrap().strip_prefix("data: ")?;
                let value: serde_json::Value = serde_json::from_str(text).ok()?;
                value["choices"][0]["delta"]["content"]
                    .as_str()
                    .map(str::to_owned)
            })
            .collect();
        let content = whole["choices"][0]["message"]["content"].as_str().unwrap();
        assert_eq!(content, streamed);
        assert!(content.starts_with(&answer_id(request_read.question)));
        assert!(content.contains("Paris"));
        assert_eq!(whole["usage"]["completion_tokens"], 7);
    }

    #[test]
    fn words_are_counted() {
        for text in ["", " ", "a", " a  b\n", "a b", "\tà b\r\nc "] {
            assert_eq!(
                count_words(text),
                text.split_whitespace().count(),
                "{text:?}"
            );
        }
    }

    #[test]
    fn what_is_broken_is_broken_in_the_middle() {
        let request_read = ChatRequest {
            model: "m",
            question: "q",
            id: "answer-1",
            tool: None,
            wants_usage: false,
            dialect: Dialect::Chat,
        };
        let reported = |name: &str, value: &str| {
            let mut behaviour = Behaviour::default();
            behaviour.set(name, value).unwrap();
            let events = events(&request_read, &behaviour);
            let texts = events
                .iter()
                .map(|event| String::from_utf8_lossy(event).into_owned());
            texts.collect::<Vec<_>>()
        };
        let bad = |events: &[String]| {
            let data = events
                .iter()
                .filter_map(|event| event.strip_prefix("data: "));
            data.filter(|data| serde_json::from_str::<serde_json::Value>(data).is_err())
                .count()
        };
        // `[DONE]` is no JSON either.
        assert_eq!(bad(&reported("tokens", "10")), 1);
        assert_eq!(bad(&reported("body", "malformed")), 2);
        let failed = reported("error-event", "");
        assert!(failed.last().unwrap().contains("\"error\""));
        assert_eq!(
            reported("no-done", "")
                .iter()
                .filter(|event| event.contains("[DONE]"))
                .count(),
            0
        );
    }
}
