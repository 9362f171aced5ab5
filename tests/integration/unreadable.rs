//! Responses that a provider must not send: with a status that has no body, or compressed although the gateway asked for
//! them as they are. The next target is tried, and no byte of them is read as something else.

use crate::harness::*;
use serde_json::json;
use std::io::Write;

/// `gzip` of a few events, as a proxy before the provider might make it. Only its first bytes matter.
const COMPRESSED: &[u8] =
    b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\xff\x4b\x49\x2c\x49\xb4\x52\xa8\x06\x00";

/// A provider that sends these bytes to every request, and then keeps its connection open or not.
fn sending(bytes: Vec<u8>) -> Upstream {
    Upstream::start(move |_, stream| stream.write_all(&bytes).is_ok())
}

fn head_of(status: &str, headers: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status}\r\n{headers}\r\n").into_bytes()
}

fn compressed(kind: &str, encoding: &str, body: &[u8]) -> Vec<u8> {
    let headers = format!(
        "content-type: {kind}\r\ncontent-encoding: {encoding}\r\ncontent-length: {}\r\n",
        body.len()
    );
    [head_of("200 OK", &headers), body.to_vec()].concat()
}

fn messages(stream: bool) -> serde_json::Value {
    json!({"model": "m", "max_tokens": 9, "stream": stream, "messages": [{"role": "user", "content": "hi"}]})
}

#[test]
fn a_status_without_a_body_never_gets_one() {
    on_both_drivers(|driver| {
        for (sent, status) in [
            (
                head_of(
                    "101 Switching Protocols",
                    "upgrade: h2c\r\nconnection: upgrade\r\n",
                ),
                502,
            ),
            (head_of("304 Not Modified", ""), 502),
            (head_of("304 Not Modified", "content-length: 5\r\n"), 502),
            (head_of("204 No Content", ""), 502),
            (head_of("205 Reset Content", "content-length: 0\r\n"), 502),
            (
                head_of("302 Found", "location: http://x/\r\ncontent-length: 0\r\n"),
                502,
            ),
        ] {
            let upstream = sending(sent.clone());
            let gateway = Setup::new(driver, upstream.config()).start();
            let shown = String::from_utf8_lossy(&sent);
            for (path, body) in [
                ("/v1/chat/completions", ask("whole")),
                ("/v1/chat/completions", ask_stream("streamed")),
                ("/v1/messages", messages(false)),
                ("/v1/messages", messages(true)),
                (
                    "/v1/completions",
                    json!({"model": "m", "prompt": "p", "stream": true}),
                ),
                ("/v1/embeddings", json!({"model": "m", "input": "i"})),
            ] {
                let mut client = gateway.connect();
                let reply = client.post(path, &[], &body);
                assert_eq!(reply.status, status, "{path} {shown}: {reply:?}");
                // The connection is in order: the next response begins where it should.
                client.send(b"GET /v1/models HTTP/1.1\r\nhost: localhost\r\n\r\n");
                assert_eq!(client.response().status, 200, "{path} {shown}");
            }
        }
    });
}

#[test]
fn a_proxied_status_without_a_body_crosses_without_one() {
    on_both_drivers(|driver| {
        for (sent, status) in [
            (head_of("101 Switching Protocols", "upgrade: h2c\r\n"), 502),
            (head_of("304 Not Modified", "etag: \"x\"\r\n"), 304),
            (head_of("304 Not Modified", "content-length: 5\r\n"), 304),
            (head_of("204 No Content", ""), 204),
        ] {
            let upstream = sending(sent);
            let gateway = Setup::new(driver, upstream.config()).start();
            for path in ["/providers/up/x", "/v1/files/f"] {
                let mut client = gateway.connect();
                let get = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n");
                client.send(get.as_bytes());
                client.read_until("\r\n\r\n");
                let text = String::from_utf8_lossy(&client.unread).into_owned();
                assert!(text.starts_with(&format!("HTTP/1.1 {status}")), "{text}");
                if status == 502 {
                    assert_eq!(client.response().error().0, "upstream_malformed");
                } else {
                    assert!(
                        text.ends_with("\r\n\r\n") && !text.contains("content-length"),
                        "{text}"
                    );
                    client.unread.clear();
                }
                client.send(b"GET /v1/models HTTP/1.1\r\nhost: localhost\r\n\r\n");
                assert_eq!(client.response().status, 200);
            }
        }
    });
}

#[test]
fn a_compressed_stream_goes_to_the_next_target() {
    on_both_drivers(|driver| {
        for kind in ["text/event-stream", "application/json"] {
            let broken = sending(compressed(kind, "gzip", COMPRESSED));
            let spare = Upstream::echo();
            let config = format!(
                "{}{}{}{}",
                broken.provider("broken"),
                spare.provider("spare"),
                model("m", &["broken", "spare"]),
                model("alone", &["broken"])
            );
            let gateway = Setup::new(driver, config).start();
            let reply = gateway.chat(&ask_stream("hello"));
            assert_eq!(reply.content(), "answer to: hello");
            assert_eq!(reply.header("content-encoding"), None);
            let reply = gateway.post("/v1/messages", &messages(true));
            assert_eq!(reply.status, 200);
            assert!(reply.text().contains("message_stop"), "{reply:?}");
            let alone = with(ask_stream("hello"), "model", json!("alone"));
            let reply = gateway.chat(&alone);
            assert_eq!(reply.status, 502);
            assert!(reply.text().contains("compressed"), "{reply:?}");
        }
    });
}

#[test]
fn a_compressed_whole_response_is_passed_on_or_refused_but_never_read() {
    on_both_drivers(|driver| {
        // Not compressed at all, which a reader would not notice.
        let plain = chat_response("secretly plain").to_string();
        for body in [COMPRESSED, plain.as_bytes()] {
            let upstream = sending(compressed("application/json", "gzip", body));
            let gateway = Setup::new(driver, upstream.config()).start();
            for at in 1..=2 {
                let reply = gateway.chat(&ask("hello"));
                assert_eq!((reply.status, reply.cache()), (200, "miss"));
                assert_eq!(reply.header("content-encoding"), Some("gzip"));
                assert_eq!(reply.body, body);
                assert_eq!(upstream.count(), at);
            }
            // A translation would have to read it.
            let reply = gateway.post("/v1/messages", &messages(false));
            assert_eq!(reply.status, 502, "{reply:?}");
        }
        let named = sending(compressed("application/json", "identity", plain.as_bytes()));
        let gateway = Setup::new(driver, named.config()).start();
        assert_eq!(gateway.chat(&ask("hello")).content(), "secretly plain");
        assert_eq!(gateway.chat(&ask("hello")).cache(), "exact");
    });
}

#[test]
fn compressed_bodies_of_a_proxy_path_cross_untouched() {
    on_both_drivers(|driver| {
        let upstream = sending(compressed("text/event-stream", "gzip", COMPRESSED));
        let gateway = Setup::new(driver, upstream.config()).start();
        let completions = json!({"model": "m", "prompt": "p", "stream": true});
        for (path, body) in [
            ("/providers/up/x", json!({})),
            ("/v1/completions", completions),
        ] {
            let reply = gateway.post(path, &body);
            assert_eq!(reply.status, 200, "{reply:?}");
            assert_eq!(reply.header("content-encoding"), Some("gzip"), "{path}");
            assert_eq!(reply.body, COMPRESSED, "{path}");
        }
    });
}
