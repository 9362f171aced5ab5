//! What load is to be made, and the requests it consists of.

use super::pace::Pace;
use super::prompts::{Choice, Prompts, is_share};
use super::target::Target;
use crate::delay::Delay;
use crate::mock::answer::answer_number;
use crate::random::mix;
use ringside::protocols::json::document::{write_string, write_u64};
use std::time::Duration;

/// Told apart from other draws of the same number.
const MODELS: u64 = 0x6d6f_6465;
const KEYS: u64 = 0x6b65_7973;

/// A load.
#[derive(Clone)]
pub struct Plan {
    /// Where to; several are compared.
    pub targets: Vec<Target>,
    /// Times that each target is measured, in turn with the others.
    pub rounds: usize,
    /// Models asked for, each as often as the others.
    pub models: Vec<String>,
    /// Bearer keys, each as often as the others; empty = none.
    pub keys: Vec<String>,
    /// Further headers.
    pub headers: Vec<(String, String)>,
    /// Connections, of all workers together.
    pub connections: usize,
    /// Threads.
    pub workers: usize,
    /// CPUs that they are pinned to, in turn; empty = not pinned.
    pub cpus: Vec<usize>,
    /// Connections that are opened and left idle.
    pub idle_connections: usize,
    /// How long, warm-up apart.
    pub duration: Duration,
    /// Before anything is counted.
    pub warm_up: Duration,
    /// At most so many requests.
    pub requests: Option<u64>,
    /// When requests are to be sent; `None` = closed loop.
    pub pace: Option<Pace>,
    /// Pause of a connection between an answer and its next request, in a closed loop.
    pub think_time: Delay,
    /// Longest wait for an answer.
    pub timeout: Duration,
    /// Share of requests that ask for a stream.
    pub stream_share: f64,
    /// What is asked.
    pub prompts: Prompts,
    /// `max_tokens` of every request.
    pub max_tokens: Option<u64>,
    /// Directive for `ringside-mock`, appended to every prompt.
    pub mock: Option<String>,
    /// Verify the id that `ringside-mock` puts into its answers, and all JSON.
    pub check: bool,
    /// Seed of everything drawn.
    pub seed: u64,
}

/// One request.
pub struct Made {
    /// Head and body.
    pub bytes: Vec<u8>,
    /// A stream was asked for.
    pub streams: bool,
    /// The ids its answer may carry, the question's own first; empty when they are not checked.
    pub wanted: Vec<u64>,
}

impl Plan {
    /// What makes the prompts of a target in a round unlike all others.
    #[must_use]
    pub fn salt(&self, target: usize, round: usize) -> u64 {
        mix(mix(self.seed, round as u64), target as u64)
    }

    /// The request number `turn`. The same turn, target and salt give the same request.
    #[must_use]
    pub fn request(&self, target: &Target, salt: u64, turn: u64) -> Made {
        let streams = is_share(turn, self.stream_share);
        let choice = self.prompts.choose(salt, turn);
        let question = self.question(salt, choice);
        let model = one_of(&self.models, salt ^ MODELS, turn).map_or("", String::as_str);
        let mut body = Vec::with_capacity(question.len() + question.len() / 16 + 256);
        body.extend_from_slice(b"{\"model\":");
        write_string(&mut body, model);
        body.extend_from_slice(b",\"messages\":[{\"role\":\"system\",\"content\":\"You are a helpful assistant.\"},{\"role\":\"user\",\"content\":");
        write_string(&mut body, &question);
        body.extend_from_slice(b"}],\"temperature\":0.5");
        if let Some(most) = self.max_tokens {
            body.extend_from_slice(b",\"max_tokens\":");
            write_u64(&mut body, most);
        }
        if streams {
            body.extend_from_slice(b",\"stream\":true");
        }
        body.push(b'}');
        let mut bytes = Vec::with_capacity(body.len() + 512);
        for piece in [
            "POST ",
            &target.path,
            "/chat/completions HTTP/1.1\r\nhost: ",
            &target.authority,
            "\r\ncontent-type: application/json\r\naccept: application/json\r\nuser-agent: ringside-load\r\n",
        ] {
            bytes.extend_from_slice(piece.as_bytes());
        }
        let keys = if target.keys.is_empty() {
            &self.keys
        } else {
            &target.keys
        };
        let key = one_of(keys, salt ^ KEYS, turn).map(|key| ("authorization", "Bearer ", key));
        let headers = self.headers.iter().chain(&target.headers);
        let headers = headers.map(|(name, value)| (name.as_str(), "", value));
        for (name, before, value) in key.into_iter().chain(headers) {
            for piece in [name, ": ", before, value, "\r\n"] {
                bytes.extend_from_slice(piece.as_bytes());
            }
        }
        bytes.extend_from_slice(b"content-length: ");
        write_u64(&mut bytes, body.len() as u64);
        bytes.extend_from_slice(b"\r\n\r\n");
        bytes.extend_from_slice(&body);
        Made {
            bytes,
            streams,
            wanted: self.wanted(salt, choice, &question),
        }
    }

    fn question(&self, salt: u64, choice: Choice) -> String {
        let mut question = self.prompts.text(salt, choice);
        if let Some(directive) = &self.mock {
            for piece in [" [[mock ", directive, "]]"] {
                question.push_str(piece);
            }
        }
        question
    }

    /// Ids that the answer may carry: that of the question, and where prompts come in several
    /// wordings, those of all, because a semantic hit is the answer to another one.
    fn wanted(&self, salt: u64, choice: Choice, question: &str) -> Vec<u64> {
        if !self.check {
            return Vec::new();
        }
        let mut wanted = vec![answer_number(question)];
        if self.prompts.paraphrase_share > 0.0 {
            let index = choice.index;
            let phrasings = 0..self.prompts.phrasings(index);
            for phrasing in phrasings.filter(|phrasing| *phrasing != choice.phrasing) {
                let other = self.question(salt, Choice { index, phrasing });
                wanted.push(answer_number(&other));
            }
        }
        wanted
    }
}

fn one_of<T>(list: &[T], seed: u64, turn: u64) -> Option<&T> {
    match list {
        [] => None,
        [one] => Some(one),
        _ => {
            let length = u64::try_from(list.len()).ok()?;
            list.get(usize::try_from(mix(seed, turn) % length).ok()?)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::options::Options;
    use super::*;
    use std::collections::HashMap;

    fn plan(options: &[(&str, &str)]) -> Plan {
        let mut read = Options::default();
        for (name, value) in [("url", "http://127.0.0.1:1"), ("model", "m")]
            .iter()
            .chain(options)
        {
            read.set(name, value).unwrap();
        }
        read.finish().unwrap()
    }

    fn body(made: &Made) -> serde_json::Value {
        let text = String::from_utf8(made.bytes.clone()).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("content-length: {}", body.len())));
        serde_json::from_str(body).unwrap()
    }

    #[test]
    fn requests_are_as_planned_and_repeatable() {
        let plan = plan(&[
            ("seed", "5"),
            ("check", "true"),
            ("stream-share", "0.5"),
            ("mock", "tokens=9"),
            ("max-tokens", "77"),
            ("model", "n"),
            ("key", "a"),
            ("key", "b"),
            ("header", "x-team: \"1\""),
        ]);
        let salt = plan.salt(0, 0);
        let mut seen: HashMap<String, u64> = HashMap::new();
        for turn in 0..200 {
            let made = plan.request(&plan.targets[0], salt, turn);
            let json = body(&made);
            assert_eq!(json["stream"] == true, made.streams);
            assert_eq!(json["max_tokens"], 77);
            let question = json["messages"][1]["content"].as_str().unwrap();
            assert!(question.ends_with(" [[mock tokens=9]]"));
            assert_eq!(made.wanted, [answer_number(question)]);
            let text = String::from_utf8_lossy(&made.bytes).into_owned();
            assert!(text.contains("\r\nx-team: \"1\"\r\n"));
            let key = if text.contains("Bearer a\r\n") {
                "a"
            } else {
                "b"
            };
            for what in [key, json["model"].as_str().unwrap()] {
                *seen.entry(what.to_owned()).or_default() += 1;
            }
            assert_eq!(made.bytes, plan.request(&plan.targets[0], salt, turn).bytes);
        }
        for what in ["a", "b", "m", "n"] {
            assert!((70..=130).contains(&seen[what]), "{seen:?}");
        }
        assert_ne!(salt, plan.salt(1, 0));
        assert_ne!(salt, plan.salt(0, 1));
    }

    #[test]
    fn a_paraphrase_may_get_the_response_of_any_phrasing() {
        let plan = plan(&[
            ("check", ""),
            ("paraphrase-share", "0.5"),
            ("zipf", "1"),
            ("pool", "1"),
        ]);
        let mades = (0..10).map(|turn| plan.request(&plan.targets[0], 3, turn));
        let again: Vec<Made> = mades.skip(1).step_by(2).collect();
        let first = &again[0].wanted;
        assert_eq!(first.len(), 4);
        for made in &again {
            let mut sorted = made.wanted.clone();
            sorted.sort_unstable();
            let mut other = first.clone();
            other.sort_unstable();
            assert_eq!(sorted, other, "one prompt, the same answers");
        }
    }
}
