//! Token usage, and how it is found in a response or a stream event without parsing the whole document.

use memchr::memmem::{Finder, FinderRev};
use std::sync::LazyLock;

/// Token counts of one call. They add up as in OpenAI's API: `prompt` includes `cached` and `cache_write`,
/// `completion` includes `reasoning`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// All tokens of the prompt.
    pub prompt: u64,
    /// Tokens of the response, reasoning included.
    pub completion: u64,
    /// Tokens of the prompt that were read from the provider's prompt cache.
    pub cached: u64,
    /// Tokens of the prompt that were written to the provider's prompt cache.
    pub cache_write: u64,
    /// Tokens of the response that were spent on reasoning; `None` if the provider does not report them.
    pub reasoning: Option<u64>,
}

impl Usage {
    /// All tokens of the call. A provider may report any number, so the sum saturates.
    #[must_use]
    pub(crate) fn total(&self) -> u64 {
        self.prompt.saturating_add(self.completion)
    }

    /// Tokens of the prompt that were neither read from nor written to the provider's prompt cache.
    #[must_use]
    pub(crate) fn uncached_prompt(&self) -> u64 {
        self.prompt
            .saturating_sub(self.cached)
            .saturating_sub(self.cache_write)
    }
}

/// The last `"usage"` key of a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mention {
    /// `"usage":null`. The range includes one adjacent comma, so that removing it leaves valid JSON.
    Null {
        /// First byte to remove.
        start: usize,
        /// One past the last byte to remove.
        end: usize,
    },
    /// `"usage":{…}` with this value.
    Object(Usage),
}

const KEY: &[u8] = b"\"usage\"";

/// Built once, because building a finder costs more than a short search. The forward search runs first: it compares
/// many bytes at once, and most events have no usage.
static FIND_KEY: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(KEY));
static FIND_LAST_KEY: LazyLock<FinderRev<'static>> = LazyLock::new(|| FinderRev::new(KEY));

/// Finds the last `usage` key in `json`. JSON escapes quotes inside strings, so the raw bytes `"usage"` followed by a
/// colon are a key.
#[must_use]
pub fn find(json: &[u8]) -> Option<Mention> {
    FIND_KEY.find(json)?;
    let mut end = json.len();
    loop {
        let start = FIND_LAST_KEY.rfind(json.get(..end)?)?;
        if let Some(value) = value_of(json, start) {
            let rest = json.get(value..)?;
            if rest.starts_with(b"null") {
                return Some(null_mention(json, start, value + 4));
            }
            if rest.starts_with(b"{") {
                return read(rest).map(Mention::Object);
            }
        }
        end = start;
    }
}

/// The usage that a whole response reports.
#[must_use]
pub fn in_response(json: &[u8]) -> Option<Usage> {
    match find(json)? {
        Mention::Object(usage) => Some(usage),
        Mention::Null { .. } => None,
    }
}

/// Offset of the value if the string at `start` is a key.
fn value_of(json: &[u8], start: usize) -> Option<usize> {
    let colon = skip_space(json, start + KEY.len());
    (json.get(colon) == Some(&b':')).then(|| skip_space(json, colon + 1))
}

fn skip_space(json: &[u8], from: usize) -> usize {
    let blank = json
        .get(from..)
        .unwrap_or_default()
        .iter()
        .take_while(|byte| byte.is_ascii_whitespace())
        .count();
    from + blank
}

fn null_mention(json: &[u8], key: usize, value_end: usize) -> Mention {
    let before = json
        .get(..key)
        .unwrap_or_default()
        .iter()
        .rposition(|byte| !byte.is_ascii_whitespace());
    if let Some(comma) = before.filter(|index| json.get(*index) == Some(&b',')) {
        return Mention::Null {
            start: comma,
            end: value_end,
        };
    }
    let after = skip_space(json, value_end);
    let end = if json.get(after) == Some(&b',') {
        after + 1
    } else {
        value_end
    };
    Mention::Null { start: key, end }
}

/// Reads the object at the start of `json`.
fn read(json: &[u8]) -> Option<Usage> {
    #[derive(serde::Deserialize)]
    struct Details {
        cached_tokens: Option<u64>,
        cache_write_tokens: Option<u64>,
        reasoning_tokens: Option<u64>,
    }
    #[derive(serde::Deserialize)]
    struct Raw {
        prompt_tokens: Option<u64>,
        completion_tokens: Option<u64>,
        total_tokens: Option<u64>,
        prompt_tokens_details: Option<Details>,
        completion_tokens_details: Option<Details>,
    }
    let raw = serde_json::Deserializer::from_slice(json)
        .into_iter::<Raw>()
        .next()?
        .ok()?;
    let prompt = raw.prompt_tokens?;
    let (prompt_details, completion_details) =
        (raw.prompt_tokens_details, raw.completion_tokens_details);
    let part = |details: &Option<Details>, field: fn(&Details) -> Option<u64>| {
        details.as_ref().and_then(field).unwrap_or(0)
    };
    let cached = part(&prompt_details, |details| details.cached_tokens).min(prompt);
    let reasoning = completion_details.and_then(|details| details.reasoning_tokens);
    let reasoning_count = reasoning.unwrap_or(0);
    let reported = raw.completion_tokens.unwrap_or(0);
    // Some providers do not include reasoning in `completion_tokens`; their total shows it.
    let sum = prompt
        .saturating_add(reported)
        .saturating_add(reasoning_count);
    let is_separate = reasoning_count > 0 && raw.total_tokens == Some(sum);
    let completion = reported.saturating_add(if is_separate { reasoning_count } else { 0 });
    Some(Usage {
        prompt,
        completion,
        cached,
        cache_write: part(&prompt_details, |details| details.cache_write_tokens)
            .min(prompt - cached),
        reasoning: reasoning.map(|tokens| tokens.min(completion)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_usage_object_is_read() {
        let json = br#"{"choices":[{"m":"\"usage\":{\"prompt_tokens\":9}"}],"usage": {"prompt_tokens":3,"completion_tokens":4,"total_tokens":7,"prompt_tokens_details":{"cached_tokens":2}}}"#;
        assert_eq!(
            find(json),
            Some(Mention::Object(Usage {
                prompt: 3,
                completion: 4,
                cached: 2,
                ..Usage::default()
            }))
        );
        assert_eq!(find(br#"{"x":"usage"}"#), None);
        assert_eq!(find(br#"{"usage":{}}"#), None);
    }

    #[test]
    fn parts_never_exceed_the_whole_and_separate_reasoning_is_added() {
        let read = |json: &str| in_response(json.as_bytes()).unwrap();
        let within = read(
            r#"{"usage":{"prompt_tokens":5,"completion_tokens":9,"total_tokens":14,"prompt_tokens_details":{"cached_tokens":8,"cache_write_tokens":3},"completion_tokens_details":{"reasoning_tokens":6}}}"#,
        );
        assert_eq!((within.cached, within.cache_write), (5, 0));
        assert_eq!((within.completion, within.reasoning), (9, Some(6)));
        let separate = read(
            r#"{"usage":{"prompt_tokens":5,"completion_tokens":2,"total_tokens":13,"completion_tokens_details":{"reasoning_tokens":6}}}"#,
        );
        assert_eq!((separate.completion, separate.reasoning), (8, Some(6)));
    }

    #[test]
    fn absurd_counts_saturate() {
        let json = br#"{"usage":{"prompt_tokens":18446744073709551615,"completion_tokens":1}}"#;
        assert_eq!(in_response(json).unwrap().total(), u64::MAX);
    }

    #[test]
    fn removing_null_leaves_valid_json() {
        for json in [
            &br#"{"a":1,"usage":null}"#[..],
            br#"{"a":1 , "usage" : null , "b":2}"#,
            br#"{"usage":null,"a":1}"#,
            br#"{"usage":null}"#,
        ] {
            let Some(Mention::Null { start, end }) = find(json) else {
                panic!("not found")
            };
            let cut = [&json[..start], &json[end..]].concat();
            let value: serde_json::Value = serde_json::from_slice(&cut).unwrap();
            assert!(value.get("usage").is_none());
        }
    }
}
