//! One connection of the load generator.

use super::plan::{Made, Plan};
use ringside::http::framing::{BodyReader, response_body, response_keep_alive};
use ringside::http::head::{Method, Parsed, head_end, parse_response_head};
use ringside::http::limits::HeadLimits;
use ringside::http::sse::{SseSplitter, event_data};
use ringside::runtime::io::connect;
use ringside::runtime::{Stream, clock};
use std::time::{Duration, Instant};

/// Longest wait for an answer.
const PATIENCE: Duration = Duration::from_secs(60);

/// One answer, measured.
#[derive(Debug, Default)]
pub struct Answer {
    /// When its first content event came (streams).
    pub first_event_at: Option<Instant>,
    /// Times between content events.
    pub gaps: Vec<Duration>,
    /// Content events.
    pub events: u64,
    /// `x-ringside-cache`.
    pub cache: Option<String>,
    /// `x-ringside-overhead-us`.
    pub overhead_us: Option<u64>,
}

/// A connection, made when first needed and again after it closed.
pub struct Connection<'p> {
    plan: &'p Plan,
    stream: Option<Stream>,
    received: Vec<u8>,
}

/// What is known of an answer's head.
struct Head {
    status: u16,
    keep_alive: bool,
    body: BodyReader,
    answer: Answer,
}

impl<'p> Connection<'p> {
    /// Not connected yet.
    #[must_use]
    pub fn new(plan: &'p Plan) -> Self {
        Self {
            plan,
            stream: None,
            received: Vec::new(),
        }
    }

    /// Connects, for a connection that is only held.
    ///
    /// # Errors
    /// The kind of error.
    pub async fn open(&mut self) -> Result<(), String> {
        let by = clock::now() + PATIENCE;
        let socket = connect(self.plan.address, by)
            .await
            .map_err(|fault| format!("connect: {fault}"))?;
        self.stream = Some(Stream::plain(socket));
        Ok(())
    }

    /// Sends a request and reads its answer to the end.
    ///
    /// # Errors
    /// The kind of error; the connection is made anew for the next request.
    pub async fn call(&mut self, made: Made) -> Result<Answer, String> {
        let outcome = self.exchange(made).await;
        if outcome.is_err() {
            self.stream = None;
            self.received.clear();
        }
        outcome
    }

    async fn exchange(&mut self, made: Made) -> Result<Answer, String> {
        if self.stream.is_none() {
            self.open().await?;
        }
        let by = clock::now() + PATIENCE;
        let stream = self.stream.as_mut().ok_or("connect")?;
        let (sent, _) = stream.write_all(made.bytes, by).await;
        sent.map_err(|fault| format!("send: {fault}"))?;
        let mut head = self.read_head(by).await?;
        let mut body = Vec::new();
        let mut events = Events::default();
        loop {
            let before = body.len();
            let consumed = head
                .body
                .read(&self.received, &mut body)
                .map_err(|bad| format!("framing: {bad}"))?;
            self.received.drain(..consumed);
            if made.streams && body.len() > before {
                events.take(&body, &mut head.answer)?;
            }
            if head.body.is_done() {
                break;
            }
            if self.fill(by).await? == 0 {
                head.body.end_of_input().map_err(|_| "truncated")?;
                break;
            }
        }
        if !head.keep_alive {
            self.stream = None;
        }
        if head.status != 200 {
            return Err(format!("status {}", head.status));
        }
        if made.streams && !events.done {
            return Err("stream without [DONE]".into());
        }
        if made
            .wanted
            .is_some_and(|id| memchr_find(&body, id.as_bytes()).is_none())
        {
            return Err("wrong answer".into());
        }
        Ok(head.answer)
    }

    async fn fill(&mut self, by: Instant) -> Result<usize, String> {
        let stream = self.stream.as_mut().ok_or("closed")?;
        let filled = stream.fill(&mut self.received, by).await;
        filled.map_err(|fault| format!("receive: {fault}"))
    }

    async fn read_head(&mut self, by: Instant) -> Result<Head, String> {
        let limits = HeadLimits::default();
        while head_end(&self.received, 0).is_none() {
            if self.fill(by).await? == 0 {
                return Err("closed before the answer".into());
            }
        }
        let (head, consumed) = parse_head(&self.received, &limits)?;
        self.received.drain(..consumed);
        Ok(head)
    }
}

fn parse_head(received: &[u8], limits: &HeadLimits) -> Result<(Head, usize), String> {
    let parsed = parse_response_head(received, limits).map_err(|bad| bad.to_string())?;
    let Parsed::Complete { value, consumed } = parsed else {
        return Err("unfinished head".into());
    };
    let length = response_body(Method::Post, &value).map_err(|bad| bad.to_string())?;
    let overhead = value.headers.get_str("x-ringside-overhead-us");
    let head = Head {
        status: value.status,
        keep_alive: response_keep_alive(&value),
        body: BodyReader::new(length),
        answer: Answer {
            cache: value.headers.get_str("x-ringside-cache").map(str::to_owned),
            overhead_us: overhead.and_then(|text| text.parse().ok()),
            ..Answer::default()
        },
    };
    Ok((head, consumed))
}

/// The first place of `wanted`; answers are short, so a plain search will do.
fn memchr_find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes
        .windows(wanted.len())
        .position(|window| window == wanted)
}

/// Events of a stream as they arrive.
#[derive(Default)]
struct Events {
    splitter: SseSplitter,
    from: usize,
    last_at: Option<Instant>,
    done: bool,
}

impl Events {
    fn take(&mut self, body: &[u8], answer: &mut Answer) -> Result<(), String> {
        let now = clock::now();
        loop {
            let rest = body.get(self.from..).unwrap_or_default();
            let next = self
                .splitter
                .next_event(rest)
                .map_err(|_| "event too long")?;
            let Some(length) = next else {
                return Ok(());
            };
            let data = rest.get(..length).and_then(event_data);
            self.from += length;
            let Some(data) = data else {
                continue;
            };
            if data.starts_with(b"{\"error\"") {
                return Err("error event".into());
            }
            self.done |= data.as_ref() == b"[DONE]";
            answer.events += 1;
            answer.first_event_at.get_or_insert(now);
            if let Some(last) = self.last_at.replace(now) {
                answer.gaps.push(now.saturating_duration_since(last));
            }
        }
    }
}
