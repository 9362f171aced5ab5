//! The mock's answers: deterministic, and recognisable.

use super::behaviour::Behaviour;
use ringside::api::json::{write_string, write_u64};
use ringside::http::sse::write_event;
use xxhash_rust::xxh3::xxh3_64;

/// Seconds since the Unix epoch that every answer bears.
pub const CREATED: u64 = 1_700_000_000;

/// What is to be answered.
pub struct Asked<'a> {
    /// Model asked for.
    pub model: &'a str,
    /// Text of the last user message.
    pub question: &'a str,
    /// Name of the tool to be called, if one is to be.
    pub tool: Option<&'a str>,
    /// Usage is to be reported in a stream.
    pub wants_usage: bool,
}

/// The id that an answer to `question` carries.
#[must_use]
pub fn answer_id(question: &str) -> String {
    format!("answer-{:016x}", xxh3_64(question.as_bytes()))
}

/// The words of the answer; the first is its id.
#[must_use]
pub fn words(question: &str, tokens: usize) -> Vec<String> {
    let lower = question.to_lowercase();
    let known = [
        ("capital", "france", "The capital of France is Paris."),
        ("capital", "japan", "The capital of Japan is Tokyo."),
    ];
    let natural = known
        .iter()
        .find(|(a, b, _)| lower.contains(a) && lower.contains(b))
        .map_or("This is the bundled mock provider.", |(_, _, text)| text);
    let id = answer_id(question);
    let sentence: Vec<&str> = std::iter::once(id.as_str())
        .chain(natural.split(' '))
        .collect();
    let wanted = if tokens == 0 { sentence.len() } else { tokens };
    let filler = std::iter::repeat("word");
    let words = sentence.iter().copied().chain(filler);
    words.take(wanted).map(str::to_owned).collect()
}

/// A whole `chat.completion`.
#[must_use]
pub fn whole(asked: &Asked<'_>, behaviour: &Behaviour) -> Vec<u8> {
    let mut out = Vec::with_capacity(1024);
    let words = words(asked.question, behaviour.tokens);
    frame(&mut out, asked, "chat.completion");
    out.extend_from_slice(
        b",\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":",
    );
    let finish = match asked.tool {
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
        write_usage(&mut out, asked, words.len());
    }
    out.push(b'}');
    out
}

/// The events of a stream, each complete.
#[must_use]
pub fn events(asked: &Asked<'_>, behaviour: &Behaviour) -> Vec<Vec<u8>> {
    let words = words(asked.question, behaviour.tokens);
    let mut events = Vec::with_capacity(words.len() + 4);
    events.push(chunk(
        asked,
        "{\"role\":\"assistant\",\"content\":\"\"}",
        None,
    ));
    let mut finish = behaviour.finish.as_str();
    if let Some(tool) = asked.tool {
        finish = "tool_calls";
        let name = serde_json::Value::from(tool);
        events.push(chunk(asked, &format!("{{\"tool_calls\":[{{\"index\":0,\"id\":\"call_1\",\"type\":\"function\",\"function\":{{\"name\":{name},\"arguments\":\"\"}}}}]}}"), None));
        for piece in ["{\\\"city\\\":", " \\\"Paris\\\"}"] {
            events.push(chunk(asked, &format!("{{\"tool_calls\":[{{\"index\":0,\"function\":{{\"arguments\":\"{piece}\"}}}}]}}"), None));
        }
    } else {
        for (at, word) in words.iter().enumerate() {
            let space = if at == 0 { "" } else { " " };
            events.push(chunk(
                asked,
                &format!("{{\"content\":\"{space}{word}\"}}"),
                None,
            ));
        }
    }
    if behaviour.truncate {
        return events;
    }
    events.push(chunk(asked, "{}", Some(finish)));
    if asked.wants_usage && !behaviour.no_usage {
        let mut data = Vec::new();
        frame(&mut data, asked, "chat.completion.chunk");
        data.extend_from_slice(b",\"choices\":[]");
        write_usage(&mut data, asked, words.len());
        data.push(b'}');
        events.push(event(&data));
    }
    if !behaviour.no_done {
        events.push(event(b"[DONE]"));
    }
    events
}

fn chunk(asked: &Asked<'_>, delta: &str, finish: Option<&str>) -> Vec<u8> {
    let mut data = Vec::with_capacity(256);
    frame(&mut data, asked, "chat.completion.chunk");
    data.extend_from_slice(b",\"choices\":[{\"index\":0,\"delta\":");
    data.extend_from_slice(delta.as_bytes());
    data.extend_from_slice(b",\"logprobs\":null,\"finish_reason\":");
    match finish {
        Some(reason) => write_string(&mut data, reason),
        None => data.extend_from_slice(b"null"),
    }
    data.extend_from_slice(b"}]");
    if asked.wants_usage {
        data.extend_from_slice(b",\"usage\":null");
    }
    data.push(b'}');
    event(&data)
}

fn event(data: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(data.len() + 8);
    write_event(&mut out, data);
    out
}

fn frame(out: &mut Vec<u8>, asked: &Asked<'_>, object: &str) {
    out.extend_from_slice(b"{\"id\":\"chatcmpl-");
    out.extend_from_slice(answer_id(asked.question).as_bytes());
    out.extend_from_slice(b"\",\"object\":\"");
    out.extend_from_slice(object.as_bytes());
    out.extend_from_slice(b"\",\"created\":");
    write_u64(out, CREATED);
    out.extend_from_slice(b",\"model\":");
    write_string(out, asked.model);
    out.extend_from_slice(b",\"system_fingerprint\":\"fp_mock\"");
}

fn write_usage(out: &mut Vec<u8>, asked: &Asked<'_>, completion: usize) {
    let prompt = asked.question.split_whitespace().count();
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
        let asked = Asked {
            model: "m",
            question: "What is the capital of France?",
            tool: None,
            wants_usage: true,
        };
        let behaviour = Behaviour::default();
        let whole: serde_json::Value = serde_json::from_slice(&whole(&asked, &behaviour)).unwrap();
        let streamed: String = events(&asked, &behaviour)
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
        assert!(content.starts_with(&answer_id(asked.question)));
        assert!(content.contains("Paris"));
        assert_eq!(whole["usage"]["completion_tokens"], 7);
    }
}
