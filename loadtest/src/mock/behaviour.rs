//! How the mock is to behave: by flags, and per request by headers `x-mock-NAME: VALUE` or by a
//! directive in the last user message, `[[mock NAME=VALUE …]]`, which passes through any gateway.

use ringside::http::head::Headers;

/// Where a connection is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HangUp {
    /// Before the answer's first byte.
    Before,
    /// After the answer's head.
    Head,
    /// In the middle of the body or stream.
    Mid,
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
}

/// Behaviour of one request.
#[derive(Debug, Clone, PartialEq)]
pub struct Behaviour {
    /// Milliseconds before the first byte.
    pub latency_ms: u64,
    /// Words of an answer, and so events of a stream; 0 = as many as its sentence has.
    pub tokens: usize,
    /// Milliseconds between two events.
    pub token_gap_ms: u64,
    /// Status; anything but 200 is an error envelope.
    pub status: u16,
    /// `retry-after`, in seconds.
    pub retry_after: Option<u64>,
    /// An HTML page instead of JSON.
    pub html: bool,
    /// Broken JSON.
    pub malformed: bool,
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
    /// `finish_reason`.
    pub finish: String,
    /// Framing of a whole answer.
    pub framing: Framing,
}

impl Default for Behaviour {
    fn default() -> Self {
        Self {
            latency_ms: 0,
            tokens: 0,
            token_gap_ms: 0,
            status: 200,
            retry_after: None,
            html: false,
            malformed: false,
            hang: false,
            hang_up: None,
            truncate: false,
            no_done: false,
            no_usage: false,
            finish: "stop".into(),
            framing: Framing::Length,
        }
    }
}

/// The names that can be set, for the help and for messages.
pub const NAMES: &str = "latency-ms, tokens, token-gap-ms, status, retry-after, body=html|malformed, hang, hangup=before|head|mid, truncate, no-done, no-usage, finish, framing=length|chunked|close";

impl Behaviour {
    /// Sets one name.
    ///
    /// # Errors
    /// The name or the value is unknown.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        let wrong = || format!("{name}={value}: unknown; known: {NAMES}");
        let number = || value.parse::<u64>().map_err(|_| wrong());
        match (name, value) {
            ("latency-ms", _) => self.latency_ms = number()?,
            ("tokens", _) => self.tokens = usize::try_from(number()?).map_err(|_| wrong())?,
            ("token-gap-ms", _) => self.token_gap_ms = number()?,
            ("status", _) => self.status = value.parse().map_err(|_| wrong())?,
            ("retry-after", _) => self.retry_after = Some(number()?),
            ("body", "html") => self.html = true,
            ("body", "malformed") => self.malformed = true,
            ("hang", _) => self.hang = true,
            ("hangup", "before") => self.hang_up = Some(HangUp::Before),
            ("hangup", "head") => self.hang_up = Some(HangUp::Head),
            ("hangup", "mid") => self.hang_up = Some(HangUp::Mid),
            ("truncate", _) => self.truncate = true,
            ("no-done", _) => self.no_done = true,
            ("no-usage", _) => self.no_usage = true,
            ("finish", _) => value.clone_into(&mut self.finish),
            ("framing", "length") => self.framing = Framing::Length,
            ("framing", "chunked") => self.framing = Framing::Chunked,
            ("framing", "close") => self.framing = Framing::Close,
            _ => return Err(wrong()),
        }
        Ok(())
    }

    /// This behaviour, as changed by a request's headers and question.
    ///
    /// # Errors
    /// An unknown name or value.
    pub fn for_request(&self, headers: &Headers<'_>, question: &str) -> Result<Self, String> {
        let mut behaviour = self.clone();
        for (name, value) in headers.iter() {
            if let Some(name) = name.to_ascii_lowercase().strip_prefix("x-mock-") {
                behaviour.set(name, &String::from_utf8_lossy(value))?;
            }
        }
        let Some((_, rest)) = question.split_once("[[mock ") else {
            return Ok(behaviour);
        };
        let (directive, _) = rest.split_once("]]").unwrap_or((rest, ""));
        for word in directive.split_whitespace() {
            let (name, value) = word.split_once('=').unwrap_or((word, ""));
            behaviour.set(name, value)?;
        }
        Ok(behaviour)
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
        assert_eq!(changed.retry_after, Some(7));
        assert_eq!(changed.hang_up, Some(HangUp::Mid));
        assert!(base.for_request(&value.headers, "[[mock nope=1]]").is_err());
    }
}
