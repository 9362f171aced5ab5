//! The mock's server: Ringside's own listener and codec, on one thread.

use super::answer::{CREATED, ChatRequest, Dialect, answer_id, events};
use super::behaviour::{Behaviour, Framing, HangUp};
use super::control;
use super::read::{Read, path_of, read};
use super::respond::{answer_whole, error_body, fail, head, send};
use super::script::Script;
use super::settings::Settings;
use super::state::{State, Turn};
use super::{gemini, messages};
use ringside::auth::keys::Peer;
use ringside::config::listen::Listen;
use ringside::error::code::ErrorCode;
use ringside::error::gateway_error::GatewayError;
use ringside::http::encode;
use ringside::http::head::Headers;
use ringside::http::limits::HeadLimits;
use ringside::protocols::json::document::Scratch;
use ringside::protocols::openai::embeddings;
use ringside::protocols::openai::model_list;
use ringside::runtime::clock;
use ringside::runtime::core::{DriverChoice, pin_to_cpu, run as run_core};
use ringside::runtime::io::Interrupt;
use ringside::runtime::io::Socket;
use ringside::runtime::mailbox::{Receiver, mailbox};
use ringside::runtime::spawn;
use ringside::runtime::stream::Stream;
use ringside::runtime::tls::{ServerSettings, Session};
use ringside::server::acceptor::{Accepted, Acceptor, CoreLoad};
use ringside::server::client::Client;
use ringside::server::connection;
use ringside::server::connection::{Request, Serve};
use ringside::server::connection_limits::ConnectionLimits;
use ringside::server::drain::Drain;
use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

/// Dimensions of the mock's embeddings.
const DIMENSIONS: usize = 16;
/// Longest TLS handshake.
const HANDSHAKE_MAX: Duration = Duration::from_secs(10);

/// What the mock was started with.
pub struct Mock {
    /// Where it listens.
    pub listen: Listen,
    /// How it behaves at first.
    pub settings: Settings,
    /// How that changes over time.
    pub script: Script,
    /// Seed of everything drawn.
    pub seed: u64,
    /// Keys of which callers must present one; empty = none is asked for.
    pub api_keys: Vec<String>,
    /// For `https`.
    pub tls: Option<ServerSettings>,
    /// CPU to be pinned to.
    pub cpu: Option<usize>,
}

struct Server {
    api_keys: Vec<String>,
    tls: Option<ServerSettings>,
    scratch: RefCell<Scratch>,
    state: RefCell<State>,
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
        api_keys: mock.api_keys,
        tls: mock.tls,
        scratch: RefCell::default(),
        state: RefCell::new(State::new(mock.seed, mock.settings, mock.script)),
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
            if let Some(stream) = server.begin(socket.ok()).await {
                let position = server.drain.enter();
                connection::run(stream, position, Peer::Local, &limits, &*server).await;
            }
            if let Some(load) = loads.first() {
                load.closed();
            }
        };
        spawn::spawn(serve_one, |message| {
            eprintln!("ringside-mock: panic: {message}");
        });
    }
}

impl Serve for Server {
    async fn serve(&self, request: &Request<'_>, client: &mut Client) {
        let path = request.head.target.split('?').next().unwrap_or_default();
        match path {
            "/v1/chat/completions" | messages::PATH => self.chat(request, client).await,
            "/v1/messages/count_tokens" => self.count(request, client).await,
            _ if path.ends_with(":countTokens") => self.count(request, client).await,
            _ if path_of(path).is_some() => self.chat(request, client).await,
            "/v1/embeddings" => self.embeddings(request, client).await,
            "/v1/models" => {
                let body = model_list::list(["mock-model"].into_iter(), CREATED);
                send(client, 200, "application/json", &[], &body).await;
            }
            "/mock/stats" => {
                let body = control::stats(&self.state.borrow().stats, self.drain.connections());
                send(client, 200, "application/json", &[], body.as_bytes()).await;
            }
            "/mock/behaviour" => {
                let outcome = control::behaviour(request, &mut self.state.borrow_mut());
                match outcome {
                    Ok(body) => {
                        send(client, 200, "application/json", &[], body.as_bytes()).await;
                    }
                    Err(fault) => self.reject(&fault, client).await,
                }
            }
            _ => {
                let fault =
                    GatewayError::new(ErrorCode::UnknownPath, format!("no such path: {path}"));
                self.reject(&fault, client).await;
            }
        }
    }

    async fn reject(&self, fault: &GatewayError, client: &mut Client) {
        let body = error_body(fault.status, fault.code.as_str(), &fault.message);
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
    /// The stream over a socket, encrypted if that is wanted.
    async fn begin(&self, socket: Option<Socket>) -> Option<Stream> {
        let socket = socket?;
        let Some(settings) = &self.tls else {
            return Some(Stream::plain(socket));
        };
        let session = Session::server(settings).ok()?;
        let by = clock::now() + HANDSHAKE_MAX;
        Stream::handshake(socket, session, by).await.ok()
    }

    /// Counts a request; what is to become of it.
    fn note(&self, request: &Request<'_>) -> Result<Turn, GatewayError> {
        let authorization = request.head.headers.get_str("authorization");
        let bearer = authorization.and_then(|text| text.strip_prefix("Bearer "));
        let key = bearer.or_else(|| request.head.headers.get_str("x-api-key"));
        let key = key.or_else(|| request.head.headers.get_str("x-goog-api-key"));
        let mut state = self.state.borrow_mut();
        let stats = &mut state.stats;
        stats.requests += 1;
        stats.last_authorization = authorization.map(str::to_owned);
        stats.last_body.clear();
        stats.last_body.extend_from_slice(request.body);
        let known = key.is_some_and(|key| self.api_keys.iter().any(|known| known == key));
        if !self.api_keys.is_empty() && !known {
            return Err(GatewayError::new(
                ErrorCode::InvalidApiKey,
                "incorrect API key",
            ));
        }
        Ok(state.turn(key.unwrap_or_default(), clock::now()))
    }

    /// The behaviour for a request, and how long its first byte is to wait.
    fn plan(
        &self,
        turn: &Turn,
        read: &Read,
        headers: &Headers<'_>,
    ) -> Result<(Behaviour, Duration), GatewayError> {
        let bad = |why| GatewayError::new(ErrorCode::InvalidHeader, why);
        let mut state = self.state.borrow_mut();
        let settings = state.settings(clock::recent());
        let mut behaviour = settings
            .behaviour
            .for_request(headers, &read.question)
            .map_err(bad)?;
        if turn.fails {
            for (name, value) in &settings.fail_as {
                behaviour.set(name, value).map_err(bad)?;
            }
        }
        if let Some(left) = turn.limited_for {
            behaviour.status = 429;
            behaviour.retry_after = Some(left);
        }
        let waits = if behaviour.hang {
            Duration::from_secs(3600)
        } else {
            turn.extra + state.latency(&behaviour, turn.number).mul_f64(turn.slower)
        };
        Ok((behaviour, waits))
    }

    async fn chat(&self, request: &Request<'_>, client: &mut Client) {
        let outcome = self.note(request).and_then(|turn| {
            let mut scratch = self.scratch.borrow_mut();
            let read = scratch
                .with_document(request.body, |document| read(request.head.target, document))
                .map_err(|bad| GatewayError::new(ErrorCode::InvalidJson, bad.message))?;
            let (behaviour, waits) = self.plan(&turn, &read, &request.head.headers)?;
            Ok((read, behaviour, waits, turn))
        });
        let (mut read, behaviour, waits, turn) = match outcome {
            Ok(all) => all,
            Err(fault) => return self.reject(&fault, client).await,
        };
        let until = clock::now() + waits;
        if !self.wait(until, client).await || behaviour.hang_up == Some(HangUp::Before) {
            client.keep_alive = false;
            return;
        }
        if behaviour.wrong_answer {
            read.question.push_str(" (another question)");
        }
        let request_read = ChatRequest {
            model: &read.model,
            question: &read.question,
            id: &answer_id(&read.question),
            tool: read.tool.as_deref(),
            wants_usage: read.wants_usage,
            dialect: read.dialect,
        };
        if behaviour.status != 200 || behaviour.html {
            fail(client, &behaviour, request_read.dialect).await;
        } else if read.stream {
            self.stream(&request_read, &behaviour, turn.number, client)
                .await;
        } else {
            answer_whole(&request_read, &behaviour, client).await;
        }
    }

    async fn count(&self, request: &Request<'_>, client: &mut Client) {
        let outcome = self.note(request).and_then(|_| {
            let mut scratch = self.scratch.borrow_mut();
            let read =
                scratch.with_document(request.body, |document| read(request.head.target, document));
            read.map_err(|bad| GatewayError::new(ErrorCode::InvalidJson, bad.message))
        });
        match outcome {
            Ok(read) => {
                let body = match read.dialect {
                    Dialect::Gemini => gemini::count(&read.question),
                    _ => messages::count(&read.question),
                };
                send(client, 200, "application/json", &[], &body).await;
            }
            Err(fault) => self.reject(&fault, client).await,
        }
    }

    /// Waits until `until`; false if the client is gone before.
    async fn wait(&self, until: Instant, client: &mut Client) -> bool {
        if until <= clock::now() {
            return true;
        }
        // The runtime's own timer, good to a millisecond; deadlines of the engine are coarser.
        let mut timer = pin!(clock::sleep_until(until));
        let gone = poll_fn(|cx| match timer.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(false),
            Poll::Pending => client.poll_interrupt(cx).map(|_| true),
        })
        .await;
        if gone {
            self.state.borrow_mut().stats.cancelled += 1;
        }
        !gone
    }

    async fn stream(
        &self,
        request_read: &ChatRequest<'_>,
        behaviour: &Behaviour,
        number: u64,
        client: &mut Client,
    ) {
        let events = events(request_read, behaviour);
        let mut out = Vec::with_capacity(8 * 1024);
        head(&mut out, 200, "text/event-stream");
        encode::chunked(&mut out);
        encode::end_head(&mut out);
        let stops_at = match behaviour.hang_up {
            Some(HangUp::Head) => 0,
            Some(HangUp::Mid) => events.count() / 2,
            Some(HangUp::After(count)) => count,
            _ => usize::MAX,
        };
        let paced = !behaviour.token_gap.is_zero();
        // Counted from the first, so that lateness does not add up.
        let mut next_at = clock::now();
        for (at, event) in events.iter().enumerate() {
            if at == stops_at {
                break;
            }
            if behaviour.framing == Framing::Broken && at == events.count() / 2 {
                out.extend_from_slice(b"no size\r\n");
            }
            encode::chunk(&mut out, event);
            if paced {
                let (sent, buffer) = client.write(out).await;
                out = buffer;
                out.clear();
                next_at += self.state.borrow().gap(behaviour, number, at);
                if sent.is_err() || !self.wait(next_at, client).await {
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
        let outcome = self.note(request).and_then(|_| {
            let mut scratch = self.scratch.borrow_mut();
            let model = embeddings::read_embeddings(request.body, &mut scratch)?.model;
            let request_read = embeddings::read_local(request.body, &mut scratch, DIMENSIONS)?;
            Ok((model, request_read))
        });
        let (model, request_read) = match outcome {
            Ok(both) => both,
            Err(fault) => return self.reject(&fault, client).await,
        };
        let vectors: Vec<Vec<f32>> = request_read
            .inputs
            .iter()
            .map(|text| vector(text))
            .collect();
        let words = request_read
            .inputs
            .iter()
            .map(|text| text.split_whitespace().count());
        let tokens = words.sum::<usize>() as u64;
        let body = embeddings::write_response(&model, &vectors, tokens, request_read.base64);
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
