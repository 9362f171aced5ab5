//! The mock's server: Ringside's own listener and codec, on one thread.

use super::answer::{Asked, CREATED, events, whole};
use super::behaviour::{Behaviour, Framing, HangUp};
use ringside::admission::Peer;
use ringside::api::canonical::canonical;
use ringside::api::json::{Document, Scratch};
use ringside::api::{embeddings, models};
use ringside::config::model::Listen;
use ringside::error::Fault;
use ringside::http::encode;
use ringside::http::limits::HeadLimits;
use ringside::listener::{
    Accepted, Acceptor, Client, ConnectionLimits, CoreLoad, Drain, Request, Serve, connection,
};
use ringside::runtime::core::{DriverChoice, pin_to_cpu, run as run_core};
use ringside::runtime::io::{Interrupt, before};
use ringside::runtime::mailbox::{Receiver, mailbox};
use ringside::runtime::{Socket, Stream, clock, spawn};
use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// Dimensions of the mock's embeddings.
const DIMENSIONS: usize = 16;

/// What the mock was started with.
pub struct Mock {
    /// Where it listens.
    pub listen: Listen,
    /// Default behaviour.
    pub behaviour: Behaviour,
    /// Share of requests that fail with 500, spread evenly.
    pub fail_rate: f64,
    /// Key that callers must present.
    pub api_key: Option<String>,
    /// CPU to be pinned to.
    pub cpu: Option<usize>,
}

/// What was seen, for `GET /mock/stats`.
#[derive(Default)]
struct Stats {
    requests: u64,
    cancelled: u64,
    last_authorization: Option<String>,
    last_body: String,
}

struct Server {
    behaviour: Behaviour,
    fail_rate: f64,
    api_key: Option<String>,
    scratch: RefCell<Scratch>,
    stats: RefCell<Stats>,
    failures_due: Cell<f64>,
    drain: Rc<Drain>,
}

/// Runs the mock until the process ends. `started` is told the address.
///
/// # Errors
/// A sentence a person can act on.
pub fn run(mock: Mock, started: impl FnOnce(&str)) -> Result<(), String> {
    if let Some(cpu) = mock.cpu {
        pin_to_cpu(cpu).map_err(|error| format!("--cpu {cpu}: {error}"))?;
    }
    let acceptor = Acceptor::bind(&mock.listen)?;
    let address = acceptor.address.clone();
    let loads: Arc<[CoreLoad]> = std::iter::once(CoreLoad::default()).collect();
    let (sender, inbox) = mailbox();
    let handle = acceptor
        .start(Arc::clone(&loads), u32::MAX, move |_, accepted| {
            sender.send(accepted)
        })
        .map_err(|error| error.to_string())?;
    started(&address);
    let server = Rc::new(Server {
        behaviour: mock.behaviour,
        fail_rate: mock.fail_rate,
        api_key: mock.api_key,
        scratch: RefCell::default(),
        stats: RefCell::default(),
        failures_due: Cell::new(0.0),
        drain: Rc::default(),
    });
    let outcome = run_core(DriverChoice::Auto, |_| serve(server, inbox, loads));
    handle.stop();
    outcome.map_err(|error| error.to_string())
}

async fn serve(server: Rc<Server>, mut inbox: Receiver<Accepted>, loads: Arc<[CoreLoad]>) {
    let minutes = Duration::from_secs(600);
    let limits = Rc::new(ConnectionLimits {
        head: HeadLimits::default(),
        body_bytes_max: 64 * 1024 * 1024,
        head_timeout: minutes,
        body_timeout: minutes,
        idle_timeout: minutes,
        write_timeout: minutes,
    });
    while let Some(accepted) = inbox.next().await {
        let (server, limits, loads) = (Rc::clone(&server), Rc::clone(&limits), Arc::clone(&loads));
        let serve_one = async move {
            let socket = match accepted {
                Accepted::Tcp(stream, _) => Socket::from_tcp(stream),
                Accepted::Unix(stream) => Socket::from_unix(stream),
            };
            if let Ok(socket) = socket {
                let place = server.drain.enter();
                let stream = Stream::plain(socket);
                connection::run(stream, place, Peer::Local, &limits, &*server).await;
            }
            if let Some(load) = loads.first() {
                load.closed();
            }
        };
        spawn::spawn(serve_one, |message| {
            eprintln!("ringside-mock: panic: {message}")
        });
    }
}

/// What a request asks for, read.
struct Read {
    model: String,
    question: String,
    stream: bool,
    wants_usage: bool,
    tool: Option<String>,
}

fn read(document: &Document<'_>) -> Read {
    let text = |at: Option<usize>| at.and_then(|at| document.text(at)).map(str::to_owned);
    let flag = |at: Option<usize>| at.and_then(|at| document.boolean(at)) == Some(true);
    let question = canonical(document).question;
    let options = document.field(0, "stream_options");
    let tool = document
        .field(0, "tools")
        .and_then(|tools| document.elements(tools)?.next())
        .and_then(|tool| document.field(tool, "function"))
        .and_then(|function| document.field(function, "name"));
    let calls = question.to_lowercase().contains("call the tool");
    Read {
        model: text(document.field(0, "model")).unwrap_or_default(),
        stream: flag(document.field(0, "stream")),
        wants_usage: flag(options.and_then(|at| document.field(at, "include_usage"))),
        tool: text(tool).filter(|_| calls),
        question,
    }
}

impl Serve for Server {
    async fn serve(&self, request: &Request<'_>, client: &mut Client) {
        let path = request.head.target.split('?').next().unwrap_or_default();
        match path {
            "/v1/chat/completions" => self.chat(request, client).await,
            "/v1/embeddings" => self.embeddings(request, client).await,
            "/v1/models" => {
                let body = models::list(["mock-model"].into_iter(), CREATED);
                send(client, 200, "application/json", &[], &body).await;
            }
            "/mock/stats" => {
                let body = self.stats().to_string();
                send(client, 200, "application/json", &[], body.as_bytes()).await;
            }
            _ => {
                let fault = Fault::client(404, "unknown_path", format!("no such path: {path}"));
                self.reject(&fault, client).await;
            }
        }
    }

    async fn reject(&self, fault: &Fault, client: &mut Client) {
        let body = fault.envelope();
        send(
            client,
            fault.status,
            "application/json",
            &[],
            body.as_bytes(),
        )
        .await;
    }
}

impl Server {
    fn stats(&self) -> serde_json::Value {
        let stats = self.stats.borrow();
        serde_json::json!({
            "requests": stats.requests,
            "cancelled": stats.cancelled,
            "open_connections": self.drain.connections(),
            "last_authorization": stats.last_authorization,
            "last_body": stats.last_body,
        })
    }

    fn note(&self, request: &Request<'_>) -> Result<(), Fault> {
        let authorization = request.head.headers.get_str("authorization");
        let mut stats = self.stats.borrow_mut();
        stats.requests += 1;
        stats.last_authorization = authorization.map(str::to_owned);
        stats.last_body = String::from_utf8_lossy(request.body).into_owned();
        let wanted = self.api_key.as_ref().map(|key| format!("Bearer {key}"));
        if wanted.is_some() && wanted.as_deref() != authorization {
            return Err(Fault::client(401, "invalid_api_key", "incorrect API key"));
        }
        Ok(())
    }

    /// True when this request is one of the share that fails.
    fn fails_now(&self) -> bool {
        let due = self.failures_due.get() + self.fail_rate;
        let fails = due >= 1.0;
        self.failures_due.set(if fails { due - 1.0 } else { due });
        fails
    }

    async fn chat(&self, request: &Request<'_>, client: &mut Client) {
        let outcome = self.note(request).and_then(|()| {
            let mut scratch = self.scratch.borrow_mut();
            let read = scratch
                .with_document(request.body, read)
                .map_err(|bad| Fault::client(400, "invalid_json", bad.message))?;
            let behaviour = self
                .behaviour
                .for_request(&request.head.headers, &read.question)
                .map_err(|why| Fault::client(400, "invalid_directive", why))?;
            Ok((read, behaviour))
        });
        let (read, mut behaviour) = match outcome {
            Ok(both) => both,
            Err(fault) => return self.reject(&fault, client).await,
        };
        if self.fails_now() {
            behaviour.status = 500;
        }
        let waits = if behaviour.hang {
            3_600_000
        } else {
            behaviour.latency_ms
        };
        if !self.wait(waits, client).await || behaviour.hang_up == Some(HangUp::Before) {
            client.keep_alive = false;
            return;
        }
        let asked = Asked {
            model: &read.model,
            question: &read.question,
            tool: read.tool.as_deref(),
            wants_usage: read.wants_usage,
        };
        if behaviour.status != 200 || behaviour.html {
            fail(client, &behaviour).await;
        } else if read.stream {
            self.stream(&asked, &behaviour, client).await;
        } else {
            answer_whole(&asked, &behaviour, client).await;
        }
    }

    /// Waits; false if the client is gone before.
    async fn wait(&self, milliseconds: u64, client: &mut Client) -> bool {
        if milliseconds == 0 {
            return true;
        }
        let by = clock::now() + Duration::from_millis(milliseconds);
        let gone = before(by, poll_fn(|cx| client.poll_interrupt(cx)))
            .await
            .is_some();
        if gone {
            self.stats.borrow_mut().cancelled += 1;
        }
        !gone
    }

    async fn stream(&self, asked: &Asked<'_>, behaviour: &Behaviour, client: &mut Client) {
        let mut out = Vec::with_capacity(8 * 1024);
        head(&mut out, 200, "text/event-stream");
        encode::chunked(&mut out);
        encode::end_head(&mut out);
        let events = events(asked, behaviour);
        let stops_at = match behaviour.hang_up {
            Some(HangUp::Head) => 0,
            Some(HangUp::Mid) => events.len() / 2,
            _ => usize::MAX,
        };
        for (at, event) in events.iter().enumerate() {
            if at == stops_at {
                break;
            }
            encode::chunk(&mut out, event);
            if behaviour.token_gap_ms > 0 {
                let (sent, buffer) = client.write(out).await;
                out = buffer;
                out.clear();
                if sent.is_err() || !self.wait(behaviour.token_gap_ms, client).await {
                    client.keep_alive = false;
                    return;
                }
            }
        }
        if stops_at == usize::MAX {
            encode::last_chunk(&mut out);
        } else {
            client.keep_alive = false;
        }
        let _ = client.write(out).await;
    }

    async fn embeddings(&self, request: &Request<'_>, client: &mut Client) {
        let outcome = self.note(request).and_then(|()| {
            let mut scratch = self.scratch.borrow_mut();
            let model = embeddings::read_embeddings(request.body, &mut scratch)?.model;
            let asked = embeddings::read_local(request.body, &mut scratch, DIMENSIONS)?;
            Ok((model, asked))
        });
        let (model, asked) = match outcome {
            Ok(both) => both,
            Err(fault) => return self.reject(&fault, client).await,
        };
        let vectors: Vec<Vec<f32>> = asked.inputs.iter().map(|text| vector(text)).collect();
        let words = asked
            .inputs
            .iter()
            .map(|text| text.split_whitespace().count());
        let tokens = words.sum::<usize>() as u64;
        let body = embeddings::write_answer(&model, &vectors, tokens, asked.base64);
        send(client, 200, "application/json", &[], &body).await;
    }
}

/// A vector that depends on the text alone, with components in [-1, 1).
fn vector(text: &str) -> Vec<f32> {
    (0..DIMENSIONS as u64)
        .map(|seed| {
            let hash = xxhash_rust::xxh3::xxh3_64_with_seed(text.as_bytes(), seed);
            f32::from(u16::try_from(hash & 0xffff).unwrap_or(0)) / 32_768.0 - 1.0
        })
        .collect()
}

async fn fail(client: &mut Client, behaviour: &Behaviour) {
    let after = behaviour.retry_after.map(|seconds| seconds.to_string());
    let extra: Vec<(&str, &str)> = after
        .iter()
        .map(|text| ("retry-after", text.as_str()))
        .collect();
    if behaviour.html {
        let page = b"<html><body><h1>502 Bad Gateway</h1></body></html>";
        return send(client, behaviour.status, "text/html", &extra, page).await;
    }
    let fault = Fault::upstream(behaviour.status, "mock_error", "the mock was told to fail");
    let body = fault.envelope();
    send(
        client,
        behaviour.status,
        "application/json",
        &extra,
        body.as_bytes(),
    )
    .await;
}

async fn answer_whole(asked: &Asked<'_>, behaviour: &Behaviour, client: &mut Client) {
    let mut body = whole(asked, behaviour);
    if behaviour.malformed {
        body.truncate(body.len() / 2);
        return send(client, 200, "application/json", &[], &body).await;
    }
    let mut out = Vec::with_capacity(body.len() + 256);
    head(&mut out, 200, "application/json");
    match behaviour.framing {
        Framing::Length => encode::content_length(&mut out, body.len() as u64),
        Framing::Chunked => encode::chunked(&mut out),
        Framing::Close => client.keep_alive = false,
    }
    encode::end_head(&mut out);
    match behaviour.hang_up {
        Some(HangUp::Head) => client.keep_alive = false,
        Some(_) => {
            client.keep_alive = false;
            out.extend_from_slice(body.get(..body.len() / 2).unwrap_or_default());
        }
        None if behaviour.framing == Framing::Chunked => {
            encode::chunk(&mut out, &body);
            encode::last_chunk(&mut out);
        }
        None => out.extend_from_slice(&body),
    }
    let _ = client.write(out).await;
}

fn head(out: &mut Vec<u8>, status: u16, kind: &str) {
    encode::status_line(out, status);
    encode::header(out, "content-type", kind.as_bytes());
    encode::header(out, "x-request-id", b"mock");
}

async fn send(client: &mut Client, status: u16, kind: &str, extra: &[(&str, &str)], body: &[u8]) {
    let mut out = Vec::with_capacity(body.len() + 256);
    head(&mut out, status, kind);
    for (name, value) in extra {
        encode::header(&mut out, name, value.as_bytes());
    }
    encode::content_length(&mut out, body.len() as u64);
    encode::end_head(&mut out);
    out.extend_from_slice(body);
    let _ = client.write(out).await;
}
