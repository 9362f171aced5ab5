//! Gemini's streams without `alt=sse`: one JSON array, an element per event, as they come.

use crate::harness::*;
use serde_json::{Value, json};
use std::io::Write;
use std::sync::Mutex;
use std::sync::mpsc;

const PATH: &str = "/v1beta/models/m:streamGenerateContent";

fn question(text: &str) -> Value {
    json!({"contents": [{"role": "user", "parts": [{"text": text}]}]})
}

fn gemini(upstream: &Upstream) -> String {
    format!(
        "[[providers]]\nname = \"up\"\ndialect = \"gemini\"\nbase_url = \"http://{}/v1beta\"\n{}",
        upstream.address,
        model("m", &["up"])
    )
}

fn elements(reply: &Response) -> Vec<Value> {
    assert_eq!(
        reply.header("content-type"),
        Some("application/json; charset=UTF-8")
    );
    let types = reply
        .headers
        .iter()
        .filter(|(name, _)| name == "content-type");
    assert_eq!(types.count(), 1);
    reply.json().as_array().expect("an array").clone()
}

fn words(elements: &[Value]) -> String {
    let text = |one: &Value| {
        let part = &one["candidates"][0]["content"]["parts"][0];
        part["text"].as_str().unwrap_or_default().to_owned()
    };
    elements.iter().map(text).collect()
}

fn post(gateway: &Gateway, path: &str, body: &Value) -> Response {
    gateway.post_with(path, &[], body)
}

#[test]
fn a_translated_stream_is_an_array_and_so_is_a_cached_one() {
    on_both_drivers(|driver| {
        let upstream = Upstream::start(|_, stream| write_stream(stream, "one two three"));
        let gateway = Setup::new(driver, upstream.config()).start();
        let first = post(&gateway, PATH, &question("what?"));
        assert_eq!(first.status, 200, "{first:?}");
        let elements_of_first = elements(&first);
        assert_eq!(words(&elements_of_first), "one two three");
        let last = elements_of_first.last().unwrap();
        assert_eq!(last["candidates"][0]["finishReason"], "STOP");
        assert_eq!(last["usageMetadata"]["promptTokenCount"], 7);
        // What one form asked is the other's answer too.
        gateway.wait_for_log(|line| line["stream"] == true && line["input_tokens"] == 7);
        let cached = post(&gateway, PATH, &question("what?"));
        assert_eq!(cached.cache(), "exact");
        assert_eq!(words(&elements(&cached)), "one two three");
        let events = post(&gateway, &format!("{PATH}?alt=sse"), &question("what?"));
        assert_eq!(events.cache(), "exact");
        assert_eq!(events.events(), elements(&cached));
        assert_eq!(upstream.count(), 1);
        let whole = post(&gateway, &PATH.replace("streamG", "g"), &question("what?"));
        assert_eq!(whole.status, 200);
        assert!(whole.json().is_object());
    });
}

#[test]
fn elements_come_as_the_provider_sends_them() {
    on_both_drivers(|driver| {
        let (go, wait) = mpsc::channel::<()>();
        let wait = Mutex::new(wait);
        let upstream = Upstream::start(move |_, stream| {
            let mut out = stream_head().to_vec();
            out.extend_from_slice(&chunk(&delta("early")));
            stream.write_all(&out).unwrap();
            wait.lock().unwrap().recv_timeout(TEST_TIMEOUT).unwrap();
            let mut rest = chunk(&delta(" late"));
            rest.extend_from_slice(&chunk(&stream_end()));
            rest.extend_from_slice(b"0\r\n\r\n");
            stream.write_all(&rest).is_ok()
        });
        let gateway = Setup::new(driver, upstream.config()).start();
        let mut client = gateway.connect();
        client.send(&request(PATH, &[], question("x").to_string().as_bytes()));
        // Comes although the provider sends nothing more until told.
        client.read_until("early");
        go.send(()).unwrap();
        assert_eq!(words(&elements(&client.response())), "early late");
    });
}

/// Events of Gemini's with odd spaces, each byte in a chunk of its own.
const EVENTS: [&str; 2] = [
    r#"{ "candidates" : [{"content":{"parts":[{"text":"caf\u00e9"}],"role":"model"},"index":0}],"future":1.50}"#,
    r#"{"candidates":[{"content":{"parts":[{"text":"!"}],"role":"model"},"finishReason":"STOP","index":0}],"usageMetadata":{"promptTokenCount":3,"candidatesTokenCount":2,"totalTokenCount":5}}"#,
];

#[test]
fn the_own_dialects_events_are_elements_as_they_are() {
    on_both_drivers(|driver| {
        let upstream = Upstream::start(|_, stream| {
            let mut fine = stream.write_all(stream_head()).is_ok();
            for event in EVENTS {
                for byte in format!("data: {event}\r\n\r\n").chars() {
                    fine &= stream.write_all(&chunk(&byte.to_string())).is_ok();
                }
            }
            fine && stream.write_all(b"0\r\n\r\n").is_ok()
        });
        let gateway = Setup::new(driver, gemini(&upstream)).start();
        let reply = post(&gateway, &format!("{PATH}?alt=json"), &question("x"));
        assert_eq!(
            reply.text(),
            format!("[{}\n,\r\n{}\n]", EVENTS[0], EVENTS[1])
        );
        elements(&reply);
        assert!(
            upstream
                .last()
                .line
                .contains("streamGenerateContent?alt=sse ")
        );
        let log = gateway.wait_for_log(|line| line["operation"] == "chat");
        assert_eq!(
            (&log["input_tokens"], &log["output_tokens"]),
            (&json!(3), &json!(2))
        );
    });
}

#[test]
fn errors_are_elements_too() {
    on_both_drivers(|driver| {
        let (go, wait) = mpsc::channel::<()>();
        let wait = Mutex::new(wait);
        let upstream = Upstream::start(move |seen, stream| {
            let text = seen.message.text();
            if text.contains("refuse") {
                let error =
                    json!({"error": {"code": 400, "message": "no", "status": "INVALID_ARGUMENT"}});
                return write_json(stream, 400, &error);
            }
            let mut out = stream_head().to_vec();
            out.extend_from_slice(&chunk(&format!("data: {}\n\n", EVENTS[0])));
            stream.write_all(&out).unwrap();
            // What fails before anything was relayed is another matter.
            wait.lock().unwrap().recv_timeout(TEST_TIMEOUT).unwrap();
            if !text.contains("say") {
                return false;
            }
            let error = r#"{"error":{"code":503,"message":"busy","status":"UNAVAILABLE"}}"#;
            let mut out = chunk(&format!("data: {error}\n\n"));
            out.extend_from_slice(b"0\r\n\r\n");
            stream.write_all(&out).is_ok()
        });
        let gateway = Setup::new(driver, gemini(&upstream)).start();
        let refused = post(&gateway, PATH, &question("refuse"));
        assert_eq!(
            (refused.status, &elements(&refused)[0]["error"]["message"]),
            (400, &json!("no"))
        );
        let unknown = post(&gateway, &PATH.replace("/m:", "/n:"), &question("x"));
        assert_eq!(
            (unknown.status, &unknown.json()[0]["error"]["status"]),
            (404, &json!("NOT_FOUND"))
        );
        for (sent, message) in [("say", "busy"), ("break", "the provider broke off")] {
            let mut client = gateway.connect();
            client.send(&request(PATH, &[], question(sent).to_string().as_bytes()));
            client.read_until("future");
            go.send(()).unwrap();
            let broken = client.response();
            let elements = elements(&broken);
            assert_eq!((broken.status, elements.len()), (200, 2));
            assert_eq!(words(&elements), "caf\u{e9}");
            let reported = elements[1]["error"]["message"].as_str().unwrap();
            assert!(reported.contains(message), "{reported}");
        }
        let other = post(&gateway, &format!("{PATH}?alt=proto"), &question("x"));
        assert_eq!(other.status, 400);
    });
}

#[test]
fn models_are_listed_in_the_callers_dialect() {
    on_both_drivers(|driver| {
        let upstream = Upstream::echo();
        let gateway = Setup::new(driver, upstream.config()).start();
        let get = |path: &str, header: &str| {
            let mut client = gateway.connect();
            client
                .send(format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n{header}\r\n").as_bytes());
            client.response()
        };
        let version = "anthropic-version: 2023-06-01\r\n";
        let list = get("/v1/models?limit=5", version).json();
        assert_eq!(
            (&list["first_id"], &list["has_more"]),
            (&json!("m"), &json!(false))
        );
        assert_eq!(list["data"][0], get("/v1/models/m", version).json());
        assert_eq!(list["data"][0]["type"], "model");
        let missing = get("/v1/models/n", version);
        assert_eq!(
            (missing.status, &missing.json()["type"]),
            (404, &json!("error"))
        );
        assert_eq!(get("/v1/models", "").json()["object"], "list");
        assert!(get("/v1beta/models", version).json()["models"].is_array());
    });
}
