//! The test kit: a gateway process, an upstream that does as told, a client that speaks raw HTTP.

use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

/// Longest a test waits for anything.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Runs `test` on both drivers.
pub(crate) fn on_both_drivers(test: impl Fn(&str)) {
    for driver in ["io_uring", "epoll"] {
        eprintln!("driver: {driver}");
        test(driver);
    }
}

/// A running gateway; killed when dropped.
pub(crate) struct Gateway {
    pub child: Child,
    pub address: String,
    pub admin: String,
    pub started: Value,
    pub folder: tempfile::TempDir,
    log: Arc<(Mutex<Vec<String>>, Condvar)>,
}

/// How a gateway is to be started.
pub(crate) struct Setup<'s> {
    pub driver: &'s str,
    pub server: &'s str,
    pub config: String,
    refuses_io_uring: bool,
}

impl<'s> Setup<'s> {
    pub(crate) fn new(driver: &'s str, config: impl Into<String>) -> Self {
        Self {
            driver,
            server: "",
            config: config.into(),
            refuses_io_uring: false,
        }
    }

    /// As in a container with a default seccomp profile.
    pub(crate) fn without_io_uring(mut self) -> Self {
        self.refuses_io_uring = true;
        self
    }

    pub(crate) fn command(&self, path: &std::path::Path) -> Command {
        let mut command = if self.refuses_io_uring {
            let mut command = Command::new("python3");
            let script = concat!(
                env!("CARGO_MANIFEST_DIR"),
                "/tests/integration/refuse_io_uring.py"
            );
            command.arg(script).arg(env!("CARGO_BIN_EXE_ringside"));
            command
        } else {
            Command::new(env!("CARGO_BIN_EXE_ringside"))
        };
        command
            .arg("serve")
            .arg("--config")
            .arg(path)
            .current_dir(env!("CARGO_MANIFEST_DIR"));
        command
    }

    pub(crate) fn server(mut self, keys: &'s str) -> Self {
        self.server = keys;
        self
    }

    pub(crate) fn text(&self) -> String {
        let listen = if self.server.contains("listen") {
            ""
        } else {
            "listen = \"127.0.0.1:0\"\n"
        };
        let drain_delay = if self.server.contains("[server.drain]") {
            ""
        } else {
            "[server.drain]\ndelay = \"1ms\"\n"
        };
        format!(
            "[server]\n{listen}driver = \"{}\"\n{}\n{drain_delay}[admin]\nlisten = \"127.0.0.1:0\"\n{}",
            self.driver, self.server, self.config
        )
    }

    pub(crate) fn start(self) -> Gateway {
        let folder = tempfile::tempdir().unwrap();
        self.start_in(folder)
    }

    pub(crate) fn start_in(self, folder: tempfile::TempDir) -> Gateway {
        let path = folder.path().join("ringside.toml");
        std::fs::write(&path, self.text()).unwrap();
        let mut child = self.command(&path).stdout(Stdio::piped()).spawn().unwrap();
        let log = Arc::new((Mutex::new(Vec::new()), Condvar::new()));
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let into = Arc::clone(&log);
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                into.0.lock().unwrap().push(line);
                into.1.notify_all();
            }
        });
        let mut gateway = Gateway {
            child,
            address: String::new(),
            admin: String::new(),
            started: Value::Null,
            folder,
            log,
        };
        let started = gateway.wait_for_event("started");
        gateway.address = started["listen"][0].as_str().unwrap().to_owned();
        gateway.admin = started["admin"].as_str().unwrap().to_owned();
        gateway.started = started;
        gateway
    }
}

impl Gateway {
    /// The first log line with this event (and, for requests, after `from` lines).
    pub(crate) fn wait_for_event(&self, event: &str) -> Value {
        self.wait_for_log(|line| line["event"] == event)
    }

    pub(crate) fn wait_for_log(&self, wanted: impl Fn(&Value) -> bool) -> Value {
        let until = Instant::now() + PATIENCE;
        let mut seen = 0;
        let mut lines = self.log.0.lock().unwrap();
        loop {
            for line in &lines[seen..] {
                if let Ok(value) = serde_json::from_str::<Value>(line)
                    && wanted(&value)
                {
                    return value;
                }
            }
            seen = lines.len();
            let left = until.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "no such log line in {:#?}", *lines);
            lines = self.log.1.wait_timeout(lines, left).unwrap().0;
        }
    }

    pub(crate) fn log_lines(&self) -> Vec<String> {
        self.log.0.lock().unwrap().clone()
    }

    pub(crate) fn connect(&self) -> Client {
        Client::connect(&self.address)
    }

    /// One request on a fresh connection.
    pub(crate) fn post(&self, path: &str, body: &Value) -> Reply {
        self.connect().post(path, &[], body)
    }

    pub(crate) fn chat(&self, body: &Value) -> Reply {
        self.post("/v1/chat/completions", body)
    }

    pub(crate) fn admin(&self, method: &str, path: &str) -> Reply {
        let mut client = Client::connect(&self.admin);
        client.send(format!("{method} {path} HTTP/1.1\r\nhost: a\r\n\r\n").as_bytes());
        client.reply()
    }

    pub(crate) fn info(&self) -> Value {
        self.admin("GET", "/info").json()
    }

    /// The value of a metric line that begins with `name`; zero if there is none.
    pub(crate) fn metric(&self, name: &str) -> f64 {
        let page = self.admin("GET", "/metrics").text();
        page.lines()
            .filter_map(|line| line.strip_prefix(name)?.trim().parse().ok())
            .next()
            .unwrap_or(0.0)
    }

    pub(crate) fn wait_for_metric(&self, name: &str, wanted: f64) {
        wait_until(&format!("{name} = {wanted}"), || {
            self.metric(name) == wanted
        });
    }

    pub(crate) fn signal(&self, signal: nix::sys::signal::Signal) {
        let pid = nix::unistd::Pid::from_raw(self.child.id().try_into().unwrap());
        nix::sys::signal::kill(pid, signal).unwrap();
    }

    pub(crate) fn wait_for_exit(&mut self) -> ExitStatus {
        let until = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < until, "the gateway did not stop");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Open file descriptors of the process.
    pub(crate) fn open_files(&self) -> usize {
        let folder = format!("/proc/{}/fd", self.child.id());
        std::fs::read_dir(folder).unwrap().count()
    }

    pub(crate) fn rewrite_config(&self, text: &str) {
        std::fs::write(self.folder.path().join("ringside.toml"), text).unwrap();
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < until, "never came true: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A client on one connection.
pub(crate) struct Client {
    pub stream: TcpStream,
    pub unread: Vec<u8>,
}

impl Client {
    pub(crate) fn connect(address: &str) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self {
            stream,
            unread: Vec::new(),
        }
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    pub(crate) fn post(&mut self, path: &str, headers: &[(&str, &str)], body: &Value) -> Reply {
        self.send(&request(path, headers, body.to_string().as_bytes()));
        self.reply()
    }

    /// One whole answer.
    pub(crate) fn reply(&mut self) -> Reply {
        read_reply(&mut self.stream, &mut self.unread).expect("an answer")
    }

    /// Reads until `text` has come; what came is kept for `reply`.
    pub(crate) fn read_until(&mut self, text: &str) {
        while !String::from_utf8_lossy(&self.unread).contains(text) {
            assert!(
                fill(&mut self.stream, &mut self.unread) > 0,
                "closed before {text:?}"
            );
        }
    }

    /// True once the gateway has closed; everything that comes before is dropped.
    pub(crate) fn is_closed(&mut self) -> bool {
        let mut rest = Vec::new();
        match self.stream.read_to_end(&mut rest) {
            Ok(_) => true,
            Err(error) => error.kind() == std::io::ErrorKind::ConnectionReset,
        }
    }
}

pub(crate) fn request(path: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut out = format!("POST {path} HTTP/1.1\r\nhost: test\r\n");
    for (name, value) in headers {
        out.push_str(&format!("{name}: {value}\r\n"));
    }
    out.push_str(&format!("content-length: {}\r\n\r\n", body.len()));
    let mut out = out.into_bytes();
    out.extend_from_slice(body);
    out
}

/// An answer.
#[derive(Debug, Clone)]
pub(crate) struct Reply {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Reply {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("not JSON: {self:?}"))
    }

    pub(crate) fn cache(&self) -> &str {
        self.header("x-ringside-cache").unwrap_or("(none)")
    }

    /// Code and message of an error envelope.
    pub(crate) fn error(&self) -> (String, String) {
        let error = &self.json()["error"];
        let text = |name: &str| error[name].as_str().unwrap_or_default().to_owned();
        (text("code"), text("message"))
    }

    /// The text of a whole answer, or of a stream.
    pub(crate) fn content(&self) -> String {
        if let Ok(value) = serde_json::from_slice::<Value>(&self.body) {
            return value["choices"][0]["message"]["content"]
                .as_str()
                .unwrap_or_default()
                .to_owned();
        }
        self.events()
            .iter()
            .filter_map(|event| event["choices"][0]["delta"]["content"].as_str())
            .collect()
    }

    /// The JSON events of a stream.
    pub(crate) fn events(&self) -> Vec<Value> {
        self.text()
            .lines()
            .filter_map(|line| serde_json::from_str(line.strip_prefix("data: ")?).ok())
            .collect()
    }
}

fn fill(stream: &mut TcpStream, into: &mut Vec<u8>) -> usize {
    let mut piece = [0; 16 * 1024];
    let count = stream.read(&mut piece).unwrap_or(0);
    into.extend_from_slice(&piece[..count]);
    count
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes
        .windows(wanted.len())
        .position(|window| window == wanted)
}

/// Reads one message (an answer, or with a request line a request).
pub(crate) fn read_message(
    stream: &mut TcpStream,
    unread: &mut Vec<u8>,
) -> Option<(String, Reply)> {
    let head_end = loop {
        if let Some(at) = find(unread, b"\r\n\r\n") {
            break at + 4;
        }
        if fill(stream, unread) == 0 {
            return None;
        }
    };
    let head = String::from_utf8(unread[..head_end].to_vec()).unwrap();
    unread.drain(..head_end);
    let mut lines = head.trim_end().split("\r\n");
    let first = lines.next()?.to_owned();
    let headers: Vec<(String, String)> = lines
        .map(|line| {
            let (name, value) = line.split_once(':').unwrap();
            (name.to_owned(), value.trim().to_owned())
        })
        .collect();
    let status = first
        .split(' ')
        .nth(1)
        .and_then(|word| word.parse().ok())
        .unwrap_or(0);
    let mut reply = Reply {
        status,
        headers,
        body: Vec::new(),
    };
    let chunked = reply.header("transfer-encoding").is_some();
    let length = reply
        .header("content-length")
        .map(|value| value.parse::<usize>().unwrap());
    if chunked {
        reply.body = read_chunks(stream, unread)?;
    } else if let Some(length) = length {
        while unread.len() < length {
            if fill(stream, unread) == 0 {
                return None;
            }
        }
        reply.body = unread.drain(..length).collect();
    } else if status != 0 && status != 204 && status >= 200 {
        while fill(stream, unread) > 0 {}
        reply.body = std::mem::take(unread);
    }
    Some((first, reply))
}

fn read_reply(stream: &mut TcpStream, unread: &mut Vec<u8>) -> Option<Reply> {
    read_message(stream, unread).map(|(_, reply)| reply)
}

/// `None` when the connection closes before the last chunk.
fn read_chunks(stream: &mut TcpStream, unread: &mut Vec<u8>) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let line_end = loop {
            if let Some(at) = find(unread, b"\r\n") {
                break at;
            }
            if fill(stream, unread) == 0 {
                return None;
            }
        };
        let size =
            usize::from_str_radix(std::str::from_utf8(&unread[..line_end]).unwrap().trim(), 16)
                .unwrap();
        while unread.len() < line_end + 2 + size + 2 {
            if fill(stream, unread) == 0 {
                return None;
            }
        }
        body.extend_from_slice(&unread[line_end + 2..line_end + 2 + size]);
        unread.drain(..line_end + 2 + size + 2);
        if size == 0 {
            return Some(body);
        }
    }
}

/// A provider that does as told.
pub(crate) struct Upstream {
    pub address: SocketAddr,
    pub seen: Arc<Mutex<Vec<Seen>>>,
    pub connections: Arc<AtomicUsize>,
    pub closed: Arc<AtomicUsize>,
}

/// A request that an upstream saw.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub line: String,
    pub message: Reply,
}

impl Seen {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.message.header(name)
    }

    pub(crate) fn json(&self) -> Value {
        self.message.json()
    }

    /// The last message's text.
    pub(crate) fn question(&self) -> String {
        let body = self.json();
        let last = body["messages"]
            .as_array()
            .and_then(|all| all.last())
            .cloned()
            .unwrap_or_default();
        last["content"].as_str().unwrap_or_default().to_owned()
    }
}

impl Upstream {
    /// `answer` writes whatever it wants; false ends the connection.
    pub(crate) fn start(
        answer: impl Fn(&Seen, &mut TcpStream) -> bool + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let upstream = Self {
            address: listener.local_addr().unwrap(),
            seen: Arc::default(),
            connections: Arc::default(),
            closed: Arc::default(),
        };
        let (seen, connections, closed) = (
            Arc::clone(&upstream.seen),
            Arc::clone(&upstream.connections),
            Arc::clone(&upstream.closed),
        );
        let answer = Arc::new(answer);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                stream.set_nodelay(true).unwrap();
                connections.fetch_add(1, Ordering::SeqCst);
                let (seen, closed, answer) =
                    (Arc::clone(&seen), Arc::clone(&closed), Arc::clone(&answer));
                std::thread::spawn(move || {
                    let mut unread = Vec::new();
                    while let Some((line, message)) = read_message(&mut stream, &mut unread) {
                        let request = Seen { line, message };
                        seen.lock().unwrap().push(request.clone());
                        if !answer(&request, &mut stream) {
                            break;
                        }
                    }
                    closed.fetch_add(1, Ordering::SeqCst);
                });
            }
        });
        upstream
    }

    /// Answers every chat with an answer derived from its last message, streamed if asked.
    pub(crate) fn echo() -> Self {
        Self::start(|seen, stream| {
            let body = seen.json();
            let content = format!("answer to: {}", seen.question());
            if body["stream"] == true {
                write_stream(stream, &content)
            } else {
                write_json(stream, 200, &chat_answer(&content))
            }
        })
    }

    /// Requests seen.
    pub(crate) fn count(&self) -> usize {
        self.seen.lock().unwrap().len()
    }

    pub(crate) fn last(&self) -> Seen {
        self.seen.lock().unwrap().last().unwrap().clone()
    }

    pub(crate) fn provider(&self, name: &str) -> String {
        provider(name, &self.address.to_string(), "")
    }

    /// One provider and one model `m` at it.
    pub(crate) fn config(&self) -> String {
        format!("{}{}", self.provider("up"), model("m", &["up"]))
    }
}

pub(crate) fn provider(name: &str, address: &str, more: &str) -> String {
    format!("[[providers]]\nname = \"{name}\"\nbase_url = \"http://{address}/v1\"\n{more}\n")
}

/// A model with targets at `providers`, in this order.
pub(crate) fn model(name: &str, providers: &[&str]) -> String {
    let targets: Vec<String> = providers
        .iter()
        .map(|provider| {
            format!("{{ provider = \"{provider}\", model = \"{name}-at-{provider}\" }}")
        })
        .collect();
    format!(
        "[[models]]\nname = \"{name}\"\ntargets = [{}]\n",
        targets.join(", ")
    )
}

pub(crate) fn chat_answer(content: &str) -> Value {
    json!({
        "id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "up-model",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": content, "refusal": null},
                     "logprobs": null, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 7, "completion_tokens": 5, "total_tokens": 12},
    })
}

pub(crate) fn write_json(stream: &mut TcpStream, status: u16, body: &Value) -> bool {
    write_with(
        stream,
        status,
        "application/json",
        body.to_string().as_bytes(),
    )
}

pub(crate) fn write_with(stream: &mut TcpStream, status: u16, kind: &str, body: &[u8]) -> bool {
    let mut out = format!(
        "HTTP/1.1 {status} X\r\ncontent-type: {kind}\r\nx-request-id: up-1\r\ncontent-length: {}\r\n\r\n",
        body.len()
    )
    .into_bytes();
    out.extend_from_slice(body);
    stream.write_all(&out).is_ok()
}

pub(crate) fn stream_head() -> &'static [u8] {
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
}

pub(crate) fn chunk(text: &str) -> Vec<u8> {
    format!("{:x}\r\n{text}\r\n", text.len()).into_bytes()
}

pub(crate) fn delta(content: &str) -> String {
    let event = json!({"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "up-model",
        "choices": [{"index": 0, "delta": {"content": content}, "finish_reason": null}], "usage": null});
    format!("data: {event}\n\n")
}

pub(crate) fn stream_end() -> String {
    let finish = json!({"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "up-model",
        "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}], "usage": null});
    let usage = json!({"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "up-model",
        "choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 5, "total_tokens": 12}});
    format!("data: {finish}\n\ndata: {usage}\n\ndata: [DONE]\n\n")
}

/// A complete stream, a word per event.
pub(crate) fn write_stream(stream: &mut TcpStream, content: &str) -> bool {
    let mut out = stream_head().to_vec();
    for word in content.split_inclusive(' ') {
        out.extend_from_slice(&chunk(&delta(word)));
    }
    out.extend_from_slice(&chunk(&stream_end()));
    out.extend_from_slice(b"0\r\n\r\n");
    stream.write_all(&out).is_ok()
}

/// A chat request for model `m`.
pub(crate) fn ask(question: &str) -> Value {
    json!({"model": "m", "messages": [{"role": "user", "content": question}]})
}

/// The same, streamed.
pub(crate) fn ask_stream(question: &str) -> Value {
    let mut body = ask(question);
    body["stream"] = true.into();
    body
}

/// `value` with `key` set to `to`.
pub(crate) fn with(mut value: Value, key: &str, to: Value) -> Value {
    value[key] = to;
    value
}
