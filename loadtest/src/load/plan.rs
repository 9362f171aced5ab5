//! What load is to be made: arguments, and the requests they describe.

use crate::mock::answer::answer_id;
use std::net::SocketAddr;
use std::time::Duration;

/// A load.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Where to.
    pub address: SocketAddr,
    /// `host` header.
    pub authority: String,
    /// Path prefix, `/v1` by default.
    pub path: String,
    /// Model asked for.
    pub model: String,
    /// Bearer key.
    pub key: Option<String>,
    /// Further headers.
    pub headers: Vec<(String, String)>,
    /// Connections.
    pub connections: usize,
    /// How long, warm-up apart.
    pub duration: Duration,
    /// Before anything is counted.
    pub warm_up: Duration,
    /// At most so many requests.
    pub requests: Option<u64>,
    /// Requests per second; `None` = closed loop.
    pub rate: Option<f64>,
    /// Share of requests that ask for a stream.
    pub stream_share: f64,
    /// Share of requests that repeat the prompt before last word for word.
    pub repeat_share: f64,
    /// Bytes of a made-up prompt.
    pub prompt_bytes: usize,
    /// Part of every made-up prompt, so that no two runs make the same and meet in a cache.
    pub salt: u64,
    /// Prompts from a file, in turn; empty = made up, each another.
    pub prompts: Vec<String>,
    /// Directive for `ringside-mock`, appended to every prompt.
    pub mock: Option<String>,
    /// Verify the id that `ringside-mock` puts into its answers.
    pub check: bool,
    /// Connections that are opened and left idle.
    pub idle_connections: usize,
}

/// One request.
pub struct Made {
    /// Head and body.
    pub bytes: Vec<u8>,
    /// A stream was asked for.
    pub streams: bool,
    /// The id its answer must carry, when answers are checked.
    pub wanted: Option<String>,
}

impl Plan {
    /// The request number `turn`. The same turn gives the same request.
    #[must_use]
    pub fn request(&self, turn: u64) -> Made {
        let streams = is_share(turn, self.stream_share);
        let about = if is_share(turn, self.repeat_share) {
            turn.saturating_sub(2)
        } else {
            turn
        };
        let mut question = self.prompt(about);
        if let Some(directive) = &self.mock {
            question.push_str(&format!(" [[mock {directive}]]"));
        }
        let mut body = serde_json::json!({
            "model": self.model,
            "messages": [
                { "role": "system", "content": "You are a helpful assistant." },
                { "role": "user", "content": question },
            ],
            "temperature": 0.5,
        });
        if streams {
            body["stream"] = true.into();
        }
        let body = body.to_string();
        let mut head = format!(
            "POST {}/chat/completions HTTP/1.1\r\nhost: {}\r\ncontent-type: application/json\r\naccept: application/json\r\nuser-agent: ringside-load\r\n",
            self.path, self.authority
        );
        if let Some(key) = &self.key {
            head.push_str(&format!("authorization: Bearer {key}\r\n"));
        }
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str(&format!("content-length: {}\r\n\r\n", body.len()));
        Made {
            bytes: [head.as_bytes(), body.as_bytes()].concat(),
            streams,
            wanted: self.check.then(|| answer_id(&question)),
        }
    }

    fn prompt(&self, turn: u64) -> String {
        if !self.prompts.is_empty() {
            let at = usize::try_from(turn).unwrap_or(0) % self.prompts.len();
            return self.prompts.get(at).cloned().unwrap_or_default();
        }
        let start = format!("Question {:x}-{turn}: ", self.salt);
        let filler = "please tell me about this in a few plain words ";
        let mut prompt = start.clone() + &filler.repeat(self.prompt_bytes / filler.len() + 1);
        prompt.truncate(self.prompt_bytes.max(start.len()));
        prompt
    }
}

/// Spreads a share evenly over the turns.
#[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation)]
fn is_share(turn: u64, share: f64) -> bool {
    let due = |turn: u64| (turn as f64 * share) as u64;
    due(turn + 1) > due(turn)
}

/// Reads prompts: one a line, or JSON lines with `query`.
#[must_use]
pub fn read_prompts(text: &str) -> Vec<String> {
    text.lines()
        .filter(|line| !line.trim().is_empty())
        .map(|line| {
            serde_json::from_str::<serde_json::Value>(line)
                .ok()
                .and_then(|value| value["query"].as_str().map(str::to_owned))
                .unwrap_or_else(|| line.to_owned())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_spread_evenly() {
        let hits = (0..1000).filter(|turn| is_share(*turn, 0.25)).count();
        assert_eq!(hits, 250);
        assert!(!(0..1000).any(|turn| is_share(turn, 0.0)));
        assert!((0..1000).all(|turn| is_share(turn, 1.0)));
    }

    #[test]
    fn prompts_from_lines_or_json() {
        assert_eq!(read_prompts("a b\n\n{\"query\":\"c\"}\n"), ["a b", "c"]);
    }
}
