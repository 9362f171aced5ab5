//! The gateway inside the process that measures it, with a provider and a client that allocate nothing
//! per request.
#![allow(dead_code, reason = "each test that includes the file uses a part")]

use ringside::app::{Options, Startup};
use ringside::control::reload;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

/// A whole answer.
pub(crate) const WHOLE: &str = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 216\r\n\r\n\
{\"id\":\"chatcmpl-1\",\"object\":\"chat.completion\",\"created\":1,\"model\":\"m\",\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":\"Paris\"},\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":1}}";

/// A stream of so many tokens.
pub(crate) fn stream_of(tokens: usize) -> &'static str {
    const TOKEN: &str = r#"data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{"content":"word "},"finish_reason":null}]}"#;
    const LAST: &str = r#"data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#;
    let mut body = format!("{TOKEN}\n\n").repeat(tokens);
    body += &format!("{LAST}\n\ndata: [DONE]\n\n");
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream";
    let response = format!("{head}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    response.leak()
}

/// A provider that allocates nothing once its connection is there.
pub(crate) fn provider(response: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        while let Ok((mut stream, _)) = listener.accept() {
            std::thread::spawn(move || {
                let mut buffer = [0; 8192];
                let mut held = 0;
                while let Ok(read) = stream.read(&mut buffer[held..]) {
                    held += read;
                    if read == 0 {
                        return;
                    }
                    if buffer[..held].ends_with(b"}]}") {
                        held = 0;
                        if stream.write_all(response.as_bytes()).is_err() {
                            return;
                        }
                    }
                }
            });
        }
    });
    address
}

/// Starts the gateway in this process, with more keys for its table `[cache]`; it ends with it.
pub(crate) fn gateway(
    folder: &Path,
    driver: &str,
    provider: SocketAddr,
    cache: &str,
) -> SocketAddr {
    let free = || {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap()
    };
    let (listen, admin) = (free(), free());
    let text = format!(
        r#"
        [server]
        listen = "{listen}"
        driver = "{driver}"
        cores = 1
        [admin]
        listen = "{admin}"
        [log]
        requests = false
        [[providers]]
        name = "p"
        base_url = "http://{provider}/v1"
        [[models]]
        name = "m"
        targets = [{{ provider = "p" }}]
        [cache]
        memory_max = "16MiB"
        {cache}
        "#
    );
    let path = folder.join(format!("{}.toml", listen.port()));
    std::fs::write(&path, text).unwrap();
    let config = reload::load(&path).unwrap_or_else(|problems| panic!("{problems}"));
    std::thread::spawn(|| {
        Startup::begin()
            .unwrap()
            .serve(Options { config, path: None })
    });
    listen
}

/// A connection that asks one question after the other.
pub(crate) struct Client {
    stream: TcpStream,
    request: Vec<u8>,
    at: usize,
    number: u32,
    ends_with: &'static [u8],
}

impl Client {
    pub(crate) fn new(address: SocketAddr, streams: bool) -> Self {
        let until = Instant::now() + Duration::from_secs(20);
        let stream = loop {
            match TcpStream::connect(address) {
                Ok(stream) => break stream,
                Err(error) => assert!(Instant::now() < until, "never listened: {error}"),
            }
            std::thread::sleep(Duration::from_millis(5));
        };
        let stream_field = if streams { r#""stream":true,"# } else { "" };
        let body = format!(
            r#"{{"model":"m",{stream_field}"messages":[{{"role":"user","content":"question 00000000"}}]}}"#
        );
        let request = format!(
            "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        Self {
            stream,
            at: request.find("00000000").unwrap(),
            request: request.into_bytes(),
            number: 0,
            ends_with: if streams { b"0\r\n\r\n" } else { b"}" },
        }
    }

    /// Asks, a new question or the last again, and reads the whole answer.
    pub(crate) fn ask(&mut self, is_new: bool) {
        self.number += u32::from(is_new);
        let mut rest = self.number;
        for digit in self.request[self.at..self.at + 8].iter_mut().rev() {
            *digit = b'0' + (rest % 10) as u8;
            rest /= 10;
        }
        self.stream.write_all(&self.request).unwrap();
        let mut buffer = [0; 16384];
        let mut held = 0;
        while !buffer[..held].ends_with(self.ends_with) {
            let read = self.stream.read(&mut buffer[held..]).unwrap();
            assert!(read > 0, "{}", String::from_utf8_lossy(&buffer[..held]));
            held += read;
        }
        assert!(
            buffer.starts_with(b"HTTP/1.1 200"),
            "{}",
            String::from_utf8_lossy(&buffer[..held])
        );
    }
}
