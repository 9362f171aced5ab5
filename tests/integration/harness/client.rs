//! A client on one connection that sends raw bytes.

use super::message::{fill, read_response};
use super::{Response, TEST_TIMEOUT};
use serde_json::Value;
use std::io::{Read, Write};
use std::net::TcpStream;

/// A client on one connection.
pub(crate) struct Client {
    pub stream: TcpStream,
    pub unread: Vec<u8>,
}

impl Client {
    pub(crate) fn connect(address: &str) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(TEST_TIMEOUT)).unwrap();
        Self {
            stream,
            unread: Vec::new(),
        }
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    pub(crate) fn post(&mut self, path: &str, headers: &[(&str, &str)], body: &Value) -> Response {
        self.send(&request(path, headers, body.to_string().as_bytes()));
        self.response()
    }

    /// Reads one response.
    pub(crate) fn response(&mut self) -> Response {
        read_response(&mut self.stream, &mut self.unread).expect("a response")
    }

    /// Reads until `text` has come; the bytes stay for `response`.
    pub(crate) fn read_until(&mut self, text: &str) {
        while !String::from_utf8_lossy(&self.unread).contains(text) {
            assert!(
                fill(&mut self.stream, &mut self.unread) > 0,
                "closed before {text:?}"
            );
        }
    }

    /// Reads to the end: true when the gateway has closed the connection.
    pub(crate) fn is_closed(&mut self) -> bool {
        let mut rest = Vec::new();
        match self.stream.read_to_end(&mut rest) {
            Ok(_) => true,
            Err(error) => error.kind() == std::io::ErrorKind::ConnectionReset,
        }
    }
}

pub(crate) fn request(path: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut out = format!("POST {path} HTTP/1.1\r\nhost: localhost\r\n");
    for (name, value) in headers {
        out.push_str(&format!("{name}: {value}\r\n"));
    }
    out.push_str(&format!("content-length: {}\r\n\r\n", body.len()));
    let mut out = out.into_bytes();
    out.extend_from_slice(body);
    out
}
