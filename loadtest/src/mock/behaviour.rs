//! How the mock is to answer: by flags, and per request by headers `x-mock-NAME: VALUE` or by a
//! directive in the last user message, `[[mock NAME=VALUE …]]`, which passes through any gateway.

use super::retry::RetryStyle;
use crate::delay::Delay;
use crate::units::{duration, nearest, show_duration, switch};
use ringside::http::head::Headers;
use std::time::Duration;

/// Where a connection is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HangUp {
    /// Before the answer's first byte.
    Before,
    /// After the answer's head.
    Head,
    /// In the middle of the body or stream.
    Mid,
    /// After so many events of a stream; in the middle of a whole body.
    After(usize),
}

/// How a whole answer is framed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// By `content-length`.
    Length,
    /// In chunks.
    Chunked,
    /// By closing the connection.
    Close,
    /// In chunks of which one has no readable size; streams too.
    Broken,
}

/// Behaviour of one request.
#[derive(Debug, Clone, PartialEq)]
pub struct Behaviour {
    /// Time before the first byte.
    pub latency: Delay,
    /// Words of an answer, and so events of a stream; 0 = as many as its sentence has.
    pub tokens: usize,
    /// Time between two events.
    pub token_gap: Delay,
    /// Status; anything but 200 is an error envelope.
    pub status: u16,
    /// When to come again, told with an error.
    pub retry_after: Option<Duration>,
    /// How that is told.
    pub retry_style: Vec<RetryStyle>,
    /// An HTML page instead of JSON.
    pub html: bool,
    /// Broken JSON; in a stream, one event in the middle.
    pub malformed: bool,
    /// An error event in the middle of a stream, which then ends.
    pub error_event: bool,
    /// Never answers.
    pub hang: bool,
    /// Closes the connection.
    pub hang_up: Option<HangUp>,
    /// The stream ends cleanly without finish reason and `[DONE]`.
    pub truncate: bool,
    /// The stream ends without `[DONE]`.
    pub no_done: bool,
    /// No usage is reported.
    pub no_usage: bool,
    /// The answer of another question: what a gateway that mixes up answers would give.
    pub wrong_answer: bool,
    /// `finish_reason`.
    pub finish: String,
    /// Framing of a whole answer.
    pub framing: Framing,
}

impl Default for Behaviour {
    fn default() -> Self {
        Self {
            latency: Delay::default(),
            tokens: 0,
            token_gap: Delay::default(),
            status: 200,
            retry_after: None,
            retry_style: vec![RetryStyle::Seconds],
            html: false,
            malformed: false,
            error_event: false,
            hang: false,
            hang_up: None,
            truncate: false,
            no_done: false,
            no_usage: false,
            wrong_answer: false,
            finish: "stop".into(),
            framing: Framing::Length,
        }
    }
}

/// The names that can be set, for the help and for messages.
pub const NAMES: &str = "latency=TIME, latency-ms, tokens, token-gap=TIME, token-gap-ms, status, retry-after, retry-style=seconds|date|ms|openai|anthropic|epoch|none, body=json|html|malformed, error-event, hang, hangup=none|before|head|mid|EVENTS, truncate, no-done, no-usage, wrong-answer, finish, framing=length|chunked|close|broken";

impl Behaviour {
    /// Sets one name.
    ///
    /// # Errors
    /// The name or the value is unknown.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        let wrong = || unknown_name(name, value);
        let number = || value.parse::<u64>().map_err(|_| wrong());
        let milliseconds = || number().map(|ms| Delay::Fixed(Duration::from_millis(ms)));
        match (name, value) {
            ("latency-ms", _) => self.latency = milliseconds()?,
            ("latency", _) => self.latency = Delay::parse(value)?,
            ("tokens", _) => self.tokens = usize::try_from(number()?).map_err(|_| wrong())?,
            ("token-gap-ms", _) => self.token_gap = milliseconds()?,
            ("token-gap", _) => self.token_gap = Delay::parse(value)?,
            ("status", _) => {
                let status = value.parse().ok();
                self.status = status
                    .filter(|status| (200..=599).contains(status))
                    .ok_or_else(wrong)?;
            }
            ("retry-after", "none") => self.retry_after = None,
            ("retry-after", _) => self.retry_after = Some(duration(value).ok_or_else(wrong)?),
            ("retry-style", _) => self.retry_style = RetryStyle::parse_list(value)?,
            ("body", "json" | "html" | "malformed") => {
                self.html = value == "html";
                self.malformed = value == "malformed";
            }
            ("error-event", _) => self.error_event = switch(value),
            ("hang", _) => self.hang = switch(value),
            ("hangup", "none") => self.hang_up = None,
            ("hangup", "before") => self.hang_up = Some(HangUp::Before),
            ("hangup", "head") => self.hang_up = Some(HangUp::Head),
            ("hangup", "mid") => self.hang_up = Some(HangUp::Mid),
            ("hangup", _) => {
                let events = usize::try_from(number()?).map_err(|_| wrong())?;
                self.hang_up = Some(HangUp::After(events));
            }
            ("truncate", _) => self.truncate = switch(value),
            ("no-done", _) => self.no_done = switch(value),
            ("no-usage", _) => self.no_usage = switch(value),
            ("wrong-answer", _) => self.wrong_answer = switch(value),
            ("finish", _) => value.clone_into(&mut self.finish),
            ("framing", "length") => self.framing = Framing::Length,
            ("framing", "chunked") => self.framing = Framing::Chunked,
            ("framing", "close") => self.framing = Framing::Close,
            ("framing", "broken") => self.framing = Framing::Broken,
            _ => return Err(wrong()),
        }
        Ok(())
    }

    /// As [`Behaviour::set`]; times may be recorded in a file. For flags and files, not for what
    /// comes over the network.
    ///
    /// # Errors
    /// The name, the value or the file.
    pub fn set_own(&mut self, name: &str, value: &str) -> Result<(), String> {
        match name {
            "latency" => self.latency = Delay::parse_or_load(value)?,
            "token-gap" => self.token_gap = Delay::parse_or_load(value)?,
            _ => return self.set(name, value),
        }
        Ok(())
    }

    /// What is set, as names and values.
    #[must_use]
    pub fn describe(&self) -> Vec<(&'static str, String)> {
        let retry_after = self.retry_after.map_or("none".into(), show_duration);
        let hang_up = match self.hang_up {
            None => "none".into(),
            Some(HangUp::Before) => "before".into(),
            Some(HangUp::Head) => "head".into(),
            Some(HangUp::Mid) => "mid".into(),
            Some(HangUp::After(events)) => events.to_string(),
        };
        let body = match (self.html, self.malformed) {
            (true, _) => "html",
            (_, true) => "malformed",
            _ => "json",
        };
        let framing = match self.framing {
            Framing::Length => "length",
            Framing::Chunked => "chunked",
            Framing::Close => "close",
            Framing::Broken => "broken",
        };
        vec![
            ("latency", self.latency.to_string()),
            ("tokens", self.tokens.to_string()),
            ("token-gap", self.token_gap.to_string()),
            ("status", self.status.to_string()),
            ("retry-after", retry_after),
            ("retry-style", RetryStyle::show_list(&self.retry_style)),
            ("body", body.into()),
            ("error-event", self.error_event.to_string()),
            ("hang", self.hang.to_string()),
            ("hangup", hang_up),
            ("truncate", self.truncate.to_string()),
            ("no-done", self.no_done.to_string()),
            ("no-usage", self.no_usage.to_string()),
            ("wrong-answer", self.wrong_answer.to_string()),
            ("finish", self.finish.clone()),
            ("framing", framing.into()),
        ]
    }

    /// This behaviour, as changed by a request's headers and question.
    ///
    /// # Errors
    /// An unknown name or value.
    pub fn for_request(&self, headers: &Headers<'_>, question: &str) -> Result<Self, String> {
        let mut behaviour = self.clone();
        for (name, value) in headers.iter() {
            let begins = name.get(..7);
            if begins.is_some_and(|begins| begins.eq_ignore_ascii_case("x-mock-")) {
                let name = name.get(7..).unwrap_or_default().to_ascii_lowercase();
                behaviour.set(&name, &String::from_utf8_lossy(value))?;
            }
        }
        let Some(at) = memchr::memmem::find(question.as_bytes(), b"[[mock ") else {
            return Ok(behaviour);
        };
        let rest = question.get(at + 7..).unwrap_or_default();
        let (directive, _) = rest.split_once("]]").unwrap_or((rest, ""));
        for word in directive.split_whitespace() {
            let (name, value) = word.split_once('=').unwrap_or((word, ""));
            behaviour.set(name, value)?;
        }
        Ok(behaviour)
    }
}

/// What to say of a name that is unknown, or has an unknown value.
fn unknown_name(name: &str, value: &str) -> String {
    let known = NAMES
        .split(", ")
        .map(|entry| entry.split('=').next().unwrap_or_default());
    if known.clone().any(|known| known == name) {
        return format!("{name}={value}: cannot be read; known: {NAMES}");
    }
    match nearest(name, known) {
        Some(meant) => format!("{name}={value}: unknown; did you mean `{meant}`?"),
        None => format!("{name}={value}: unknown; known: {NAMES}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringside::http::head::{Parsed, parse_request_head};
    use ringside::http::limits::HeadLimits;

    #[test]
    fn headers_and_directives_change_one_request() {
        let head = b"POST / HTTP/1.1\r\nhost: a\r\nX-Mock-Status: 429\r\n\r\n";
        let Ok(Parsed::Complete { value, .. }) = parse_request_head(head, &HeadLimits::default())
        else {
            panic!("a good head")
        };
        let base = Behaviour::default();
        let question = "hello [[mock retry-after=7 hangup=mid]] there";
        let changed = base.for_request(&value.headers, question).unwrap();
        assert_eq!(changed.status, 429);
        assert_eq!(changed.retry_after, Some(Duration::from_secs(7)));
        assert_eq!(changed.hang_up, Some(HangUp::Mid));
        assert!(base.for_request(&value.headers, "[[mock nope=1]]").is_err());
        let file = "[[mock latency=recorded:/etc/hostname]]";
        assert!(base.for_request(&value.headers, file).is_err(), "no files");
    }

    #[test]
    fn what_is_described_can_be_set() {
        let mut changed = Behaviour::default();
        for (name, value) in [
            ("latency", "lognormal:200ms:0.4"),
            ("token-gap-ms", "5"),
            ("retry-after", "0.5"),
            ("retry-style", "ms,openai"),
            ("body", "malformed"),
            ("hangup", "3"),
            ("framing", "broken"),
            ("hang", ""),
        ] {
            changed.set(name, value).unwrap();
        }
        let mut copy = Behaviour::default();
        for (name, value) in changed.describe() {
            copy.set(name, &value).unwrap();
        }
        assert_eq!(copy, changed);
        let why = copy.set("latancy", "1s").unwrap_err();
        assert!(why.contains("did you mean `latency`"), "{why}");
        assert!(copy.set("status", "99").is_err());
    }
}
