//! A provider whose responses a test scripts.

use super::{Response, chat_response, model, provider, read_message, write_json, write_stream};
use serde_json::Value;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

/// A provider with scripted responses.
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
    pub message: Response,
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
    /// `respond` writes whatever it wants; false ends the connection.
    pub(crate) fn start(
        respond: impl Fn(&Seen, &mut TcpStream) -> bool + Send + Sync + 'static,
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
        let respond = Arc::new(respond);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                stream.set_nodelay(true).unwrap();
                connections.fetch_add(1, Ordering::SeqCst);
                let (seen, closed, respond) =
                    (Arc::clone(&seen), Arc::clone(&closed), Arc::clone(&respond));
                std::thread::spawn(move || {
                    let mut unread = Vec::new();
                    while let Some((line, message)) = read_message(&mut stream, &mut unread) {
                        let request = Seen { line, message };
                        seen.lock().unwrap().push(request.clone());
                        if !respond(&request, &mut stream) {
                            break;
                        }
                    }
                    closed.fetch_add(1, Ordering::SeqCst);
                });
            }
        });
        upstream
    }

    /// Responds to every chat with a text derived from its last message, streamed if requested.
    pub(crate) fn echo() -> Self {
        Self::start(|seen, stream| {
            let body = seen.json();
            let content = format!("answer to: {}", seen.question());
            if body["stream"] == true {
                write_stream(stream, &content)
            } else {
                write_json(stream, 200, &chat_response(&content))
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
