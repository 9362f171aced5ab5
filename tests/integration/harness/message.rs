//! HTTP messages as the tests read them: a response, or a request with its line.

use serde_json::Value;
use std::io::Read;
use std::net::TcpStream;

/// A response, or the message of a request.
#[derive(Debug, Clone)]
pub(crate) struct Response {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Response {
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

    /// The text of a buffered response or of a stream.
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

pub(crate) fn fill(stream: &mut TcpStream, into: &mut Vec<u8>) -> usize {
    let mut chunk = [0; 16 * 1024];
    let count = stream.read(&mut chunk).unwrap_or(0);
    into.extend_from_slice(&chunk[..count]);
    count
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes
        .windows(wanted.len())
        .position(|window| window == wanted)
}

/// Reads one message: its first line, and the rest. `None` when the connection closes before its end.
pub(crate) fn read_message(
    stream: &mut TcpStream,
    unread: &mut Vec<u8>,
) -> Option<(String, Response)> {
    let head_end = loop {
        if let Some(position) = find(unread, b"\r\n\r\n") {
            break position + 4;
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
    let mut message = Response {
        status,
        headers,
        body: Vec::new(),
    };
    let chunked = message.header("transfer-encoding").is_some();
    let length = message
        .header("content-length")
        .map(|value| value.parse::<usize>().unwrap());
    if chunked {
        message.body = read_chunks(stream, unread)?;
    } else if let Some(length) = length {
        while unread.len() < length {
            if fill(stream, unread) == 0 {
                return None;
            }
        }
        message.body = unread.drain(..length).collect();
    } else if status != 0 && status != 204 && status >= 200 {
        while fill(stream, unread) > 0 {}
        message.body = std::mem::take(unread);
    }
    Some((first, message))
}

pub(crate) fn read_response(stream: &mut TcpStream, unread: &mut Vec<u8>) -> Option<Response> {
    read_message(stream, unread).map(|(_, response)| response)
}

/// `None` when the connection closes before the last chunk.
fn read_chunks(stream: &mut TcpStream, unread: &mut Vec<u8>) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let line_end = loop {
            if let Some(position) = find(unread, b"\r\n") {
                break position;
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
