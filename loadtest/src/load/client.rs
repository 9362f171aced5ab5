//! One connection of the load generator.

use super::check::Checker;
use super::plan::Made;
use super::target::Target;
use ringside::http::framing::{BodyReader, response_body, response_keep_alive};
use ringside::http::head::{Method, Parsed, head_end, parse_response_head};
use ringside::http::limits::HeadLimits;
use ringside::http::sse::{SseSplitter, event_data};
use ringside::runtime::clock;
use ringside::runtime::io::{SocketError, connect};
use ringside::runtime::stream::{HandshakeError, Stream};
use ringside::runtime::tls::Session;
use std::time::{Duration, Instant};

/// One answer, measured.
#[derive(Debug, Default)]
pub struct Response {
    /// When the request was handed to the kernel.
    pub sent_at: Option<Instant>,
    /// When the first event with something of the answer came (streams).
    pub first_token_at: Option<Instant>,
    /// Times between such events.
    pub gaps: Vec<Duration>,
    /// Events of all kinds.
    pub events: u64,
    /// It was made for another wording of the prompt.
    pub reworded: bool,
    /// `x-ringside-cache`.
    pub cache: Option<String>,
    /// `x-ringside-overhead-us`.
    pub overhead_us: Option<u64>,
}

/// A connection, made when first needed and again after it closed.
pub struct Connection<'t> {
    target: &'t Target,
    timeout: Duration,
    /// Read all JSON to its end.
    fully: bool,
    checker: Checker,
    stream: Option<Stream>,
    received: Vec<u8>,
}

/// What is known of an answer's head.
struct Head {
    status: u16,
    keep_alive: bool,
    body: BodyReader,
    answer: Response,
}

impl<'t> Connection<'t> {
    /// Not connected yet. `fully`: all JSON of answers is read to its end.
    #[must_use]
    pub fn new(target: &'t Target, timeout: Duration, fully: bool) -> Self {
        Self {
            target,
            timeout,
            fully,
            checker: Checker::default(),
            stream: None,
            received: Vec::new(),
        }
    }

    /// Connects, for a connection that is only held.
    ///
    /// # Errors
    /// The kind of error.
    pub async fn open(&mut self) -> Result<(), String> {
        let by = clock::now() + self.timeout;
        let reported = |fault| kind("connect", fault);
        let socket = connect(self.target.address, by).await.map_err(reported)?;
        self.stream = Some(match &self.target.tls {
            None => Stream::plain(socket),
            Some(settings) => {
                let session = Session::client(settings, &self.target.host).map_err(reported)?;
                Stream::handshake(socket, session, by)
                    .await
                    .map_err(|error| match error {
                        HandshakeError::Socket(fault) => kind("connect", fault),
                        HandshakeError::Tls(why) => format!("connect: {why}"),
                    })?
            }
        });
        Ok(())
    }

    /// Sends a request and reads its answer to the end.
    ///
    /// # Errors
    /// The kind of error; the connection is made anew for the next request.
    pub async fn call(&mut self, made: Made) -> Result<Response, String> {
        let outcome = self.exchange(made).await;
        if outcome.is_err() {
            self.stream = None;
            self.received.clear();
        }
        outcome
    }

    async fn exchange(&mut self, made: Made) -> Result<Response, String> {
        // A server may close a connection that idles: that is no error of the next request.
        if self.stream.as_ref().is_none_or(|stream| !stream.is_quiet()) {
            self.received.clear();
            self.open().await?;
        }
        let sent_at = clock::now();
        let by = sent_at + self.timeout;
        let stream = self.stream.as_mut().ok_or("connect")?;
        let (sent, _) = stream.write_all(made.bytes, by).await;
        sent.map_err(|fault| kind("send", fault))?;
        let mut head = self.read_head(by).await?;
        head.answer.sent_at = Some(sent_at);
        let mut body = Vec::new();
        let mut events = Events::default();
        let streams = made.streams && head.status == 200;
        loop {
            let before = body.len();
            let consumed = head
                .body
                .read(&self.received, &mut body)
                .map_err(|bad| format!("framing: {bad}"))?;
            self.received.drain(..consumed);
            if streams && body.len() > before {
                events.take(&body, &self.checker, self.fully, &mut head.answer)?;
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
        if streams && !events.done {
            return Err("stream without [DONE]".into());
        }
        if !streams {
            self.checker.whole(&body, self.fully)?;
        }
        if !made.wanted.is_empty() {
            head.answer.reworded = self.checker.ids(&body, &made.wanted)?;
        }
        Ok(head.answer)
    }

    async fn fill(&mut self, by: Instant) -> Result<usize, String> {
        let stream = self.stream.as_mut().ok_or("closed")?;
        let filled = stream.fill(&mut self.received, by).await;
        filled.map_err(|fault| kind("receive", fault))
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

fn kind(doing: &str, fault: SocketError) -> String {
    match fault {
        SocketError::Deadline => "timeout".into(),
        other => format!("{doing}: {other}"),
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
        answer: Response {
            cache: value.headers.get_str("x-ringside-cache").map(str::to_owned),
            overhead_us: overhead.and_then(|text| text.parse().ok()),
            ..Response::default()
        },
    };
    Ok((head, consumed))
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
    fn take(
        &mut self,
        body: &[u8],
        checker: &Checker,
        fully: bool,
        answer: &mut Response,
    ) -> Result<(), String> {
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
            answer.events += 1;
            if data.as_ref() == b"[DONE]" {
                self.done = true;
                continue;
            }
            Checker::event(&data, fully)?;
            if !checker.carries_token(&data) {
                continue;
            }
            answer.first_token_at.get_or_insert(now);
            if let Some(last) = self.last_at.replace(now) {
                answer.gaps.push(now.saturating_duration_since(last));
            }
        }
    }
}
