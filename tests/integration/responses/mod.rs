//! Responses that a provider stores: their tenant continues, reads and deletes them, at the provider and with the API key
//! that created them; no other tenant can.

mod access;
mod continuing;
mod stored;

use crate::harness::*;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::io::Write;
use std::net::TcpStream;
use std::sync::{Arc, Mutex};

/// A provider that stores responses: the API key of each, by id.
#[derive(Clone, Default)]
struct ResponseStore(Arc<Mutex<HashMap<String, String>>>);

impl ResponseStore {
    fn provider() -> (Upstream, Self) {
        let stored = Self::default();
        let own = stored.clone();
        let answer = move |seen: &Seen, stream: &mut TcpStream| own.answer(seen, stream);
        (Upstream::start(answer), stored)
    }

    /// The API key that created a response.
    fn owner(&self, id: &str) -> Option<String> {
        self.0.lock().unwrap().get(id).cloned()
    }

    fn answer(&self, seen: &Seen, stream: &mut TcpStream) -> bool {
        let key = seen
            .header("authorization")
            .unwrap_or_default()
            .trim_start_matches("Bearer ")
            .to_owned();
        let line: Vec<&str> = seen.line.split(' ').collect();
        let (path, query) = line[1].split_once('?').unwrap_or((line[1], ""));
        let lacks = |id: &str| {
            let message = format!("Response with id '{id}' not found.");
            json!({"error": {"message": message, "type": "invalid_request_error", "param": null, "code": null}})
        };
        let Some(rest) = path.strip_prefix("/v1/responses/") else {
            let body = seen.json();
            let previous = body["previous_response_id"].as_str();
            if let Some(id) = previous.filter(|id| self.owner(id) != Some(key.clone())) {
                return write_json(stream, 400, &lacks(id));
            }
            let mut stored = self.0.lock().unwrap();
            let id = format!("resp_{}{}", key.replace('-', ""), stored.len());
            stored.insert(id.clone(), key);
            drop(stored);
            return if body["stream"] == true {
                write_bytewise(stream, &events(&id, previous))
            } else {
                let answer = text_of(&response(&id, previous, body["background"] == true));
                write_with(stream, 200, "application/json", answer.as_bytes())
            };
        };
        let (id, what) = rest.split_once('/').unwrap_or((rest, ""));
        if self.owner(id) != Some(key) {
            return write_json(stream, 404, &lacks(id));
        }
        match (line[0], what) {
            ("GET", "input_items") => write_json(
                stream,
                200,
                &json!({"object": "list", "data": [{"id": "msg_1"}], "first_id": "msg_1", "has_more": false, "query": query}),
            ),
            ("GET", "") if query.contains("stream=true") => {
                write_bytewise(stream, &events(id, None))
            }
            ("DELETE", "") => {
                self.0.lock().unwrap().remove(id);
                let gone = json!({"id": id, "object": "response", "deleted": true});
                write_json(stream, 200, &gone)
            }
            _ => write_json(stream, 200, &response(id, None, false)),
        }
    }
}

fn response(id: &str, previous: Option<&str>, queued: bool) -> Value {
    let usage = json!({"input_tokens": 7, "input_tokens_details": {"cached_tokens": 0}, "output_tokens": 5,
        "output_tokens_details": {"reasoning_tokens": 0}, "total_tokens": 12});
    json!({"id": id, "object": "response", "created_at": 1, "status": if queued { "queued" } else { "completed" },
        "model": "up-model", "previous_response_id": previous, "metadata": {"id": id},
        "output": [{"id": "msg_1", "type": "message", "role": "assistant", "status": "completed",
            "content": [{"type": "output_text", "text": "caf\u{e9}", "annotations": []}]}],
        "usage": if queued { Value::Null } else { usage }})
}

/// JSON with spaces and escapes that our serializers do not write.
fn text_of(answer: &Value) -> String {
    answer
        .to_string()
        .replace("\":", "\" : ")
        .replace('é', "\\u00e9")
}

fn events(id: &str, previous: Option<&str>) -> String {
    let whole = response(id, previous, false);
    let begun = response(id, previous, true);
    let event = |name: &str, more: Value| {
        let mut event = json!({"type": name});
        event
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        format!("event: {name}\ndata: {event}\n\n")
    };
    [
        event("response.created", json!({"response": begun})),
        ": a comment\r\n\r\n".to_owned(),
        event(
            "response.output_text.delta",
            json!({"item_id": "msg_1", "delta": format!("\"response\" {id}")}),
        ),
        event("response.completed", json!({"response": whole})),
    ]
    .concat()
    .replace('é', "\\u00e9")
}

/// Writes each character in a chunk of its own.
fn write_bytewise(stream: &mut TcpStream, text: &str) -> bool {
    let mut fine = stream.write_all(stream_head()).is_ok();
    for byte in text.chars() {
        fine &= stream.write_all(&chunk(&byte.to_string())).is_ok();
    }
    fine && stream.write_all(b"0\r\n\r\n").is_ok()
}

/// A folder with the keys of callers and the API keys of providers.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for name in ["a", "b", "c", "k-1", "k-2", "k-3"] {
        std::fs::write(folder.path().join(name), format!("sk-{name}")).unwrap();
    }
    folder
}

const KEYS: &str = "[[keys]]\nname = \"a\"\nteam = \"t\"\nsecret = \"file:a\"\n[[keys]]\nname = \"b\"\nteam = \"t\"\nsecret = \"file:b\"\n[[keys]]\nname = \"c\"\nsecret = \"file:c\"\n";

fn site(name: &str, upstream: &Upstream, keys: &[&str]) -> String {
    let keys: Vec<String> = keys.iter().map(|key| format!("\"file:{key}\"")).collect();
    let more = format!("responses = \"pass\"\napi_keys = [{}]", keys.join(", "));
    provider(name, &upstream.address.to_string(), &more)
}

/// One provider with these API keys, one model at it, and three callers.
fn config(upstream: &Upstream, keys: &[&str]) -> String {
    let site = site("one", upstream, keys);
    format!("{site}{}{KEYS}", model("m", &["one"]))
}

fn gateway(driver: &str, upstream: &Upstream, keys: &[&str]) -> Gateway {
    Setup::new(driver, config(upstream, keys)).start_in(folder())
}

/// Sends a request with the key of one caller.
fn send(gateway: &Gateway, key: &str, line: &str, body: &str) -> Response {
    let mut client = gateway.connect();
    let length = body.len();
    client.send(
        format!("{line} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer sk-{key}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}")
            .as_bytes(),
    );
    client.response()
}

fn create(gateway: &Gateway, key: &str, more: Value) -> Response {
    let mut body = json!({"model": "m", "input": "x"});
    body.as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    send(gateway, key, "POST /v1/responses", &body.to_string())
}

fn id_of(reply: &Response) -> String {
    assert_eq!(reply.status, 200, "{reply:?}");
    reply.json()["id"].as_str().unwrap().to_owned()
}

/// The provider's own id: the seal is `_` and 32 digits.
fn own(id: &str) -> &str {
    &id[..id.len() - 33]
}
