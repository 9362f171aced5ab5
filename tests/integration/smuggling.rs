//! Request smuggling: what two parsers could read as two different messages is refused, and the
//! connection closes, so that nothing behind it is ever served.
//!
//! The corpus is the published families: CL.TE, TE.CL, TE.TE, 0.CL, chunk-extension line feeds.

use crate::harness::*;

const NEXT: &str = "GET /v1/models HTTP/1.1\r\nhost: localhost\r\n\r\n";

fn post(headers: &str, body: &str) -> String {
    format!("POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\n{headers}\r\n{body}{NEXT}")
}

fn corpus() -> Vec<(String, u16)> {
    let chunked = "transfer-encoding: chunked\r\n";
    vec![
        (
            post(
                "content-length: 5\r\ntransfer-encoding: chunked\r\n",
                "0\r\n\r\n",
            ),
            400,
        ),
        (
            post(
                "transfer-encoding: chunked\r\ncontent-length: 5\r\n",
                "0\r\n\r\n",
            ),
            400,
        ),
        (post("content-length: 0\r\ncontent-length: 50\r\n", ""), 400),
        (post("content-length: 0\r\ncontent-length: 0\r\n", ""), 400),
        (post("content-length: +5\r\n", "hello"), 400),
        (post("content-length: 0x5\r\n", "hello"), 400),
        (post("content-length: 5, 5\r\n", "hello"), 400),
        (post("content-length: -1\r\n", ""), 400),
        (post("content-length: 99999999999999999999\r\n", ""), 400),
        (
            post(
                "transfer-encoding: identity\r\ntransfer-encoding: chunked\r\n",
                "0\r\n\r\n",
            ),
            501,
        ),
        (
            post("transfer-encoding: chunked, identity\r\n", "0\r\n\r\n"),
            501,
        ),
        (post("transfer-encoding: xchunked\r\n", "0\r\n\r\n"), 501),
        (
            post("transfer-encoding: gzip, chunked\r\n", "0\r\n\r\n"),
            501,
        ),
        (post("transfer-encoding : chunked\r\n", "0\r\n\r\n"), 400),
        (post("transfer-encoding:\r\n chunked\r\n", "0\r\n\r\n"), 400),
        (
            post("x: y\r\n transfer-encoding: chunked\r\n", "0\r\n\r\n"),
            400,
        ),
        (post("x: a\rb\r\n", ""), 400),
        (post("x: a\0b\r\n", ""), 400),
        (post("x: a\ncontent-length: 9\r\n", ""), 400),
        (post(chunked, "\r\n0\r\n\r\n"), 400),
        (post(chunked, "5;a=\n1\r\nhello\r\n0\r\n\r\n"), 400),
        (post(chunked, "5\r\nhelloX\r\n0\r\n\r\n"), 400),
        (post(chunked, "fffffffff\r\n"), 400),
        (post(chunked, "-1\r\n"), 400),
        (post(chunked, "0x5\r\nhello\r\n0\r\n\r\n"), 400),
        (
            format!(
                "POST /v1/chat/completions HTTP/1.0\r\nhost: localhost\r\n{chunked}\r\n0\r\n\r\n{NEXT}"
            ),
            400,
        ),
        (
            format!("POST /v1/chat/completions HTTP/1.1\r\ncontent-length: 0\r\n\r\n{NEXT}"),
            400,
        ),
        (
            format!(
                "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\nhost: b\r\ncontent-length: 0\r\n\r\n{NEXT}"
            ),
            400,
        ),
        (
            format!("POST  /v1/models HTTP/1.1\r\nhost: localhost\r\n\r\n{NEXT}"),
            400,
        ),
        (
            format!("GET http://evil/v1/models HTTP/1.1\r\nhost: localhost\r\n\r\n{NEXT}"),
            400,
        ),
        (
            format!("GET /v1/models HTTP/2.0\r\nhost: localhost\r\n\r\n{NEXT}"),
            505,
        ),
        (
            format!("CONNECT a:1 HTTP/1.1\r\nhost: localhost\r\n\r\n{NEXT}"),
            405,
        ),
        (
            post(
                "upgrade: h2c\r\nconnection: upgrade\r\ncontent-length: 0\r\n",
                "",
            ),
            400,
        ),
        (format!("GET /v1/models HTTP/1.1\nhost: a\n\n{NEXT}"), 400),
    ]
}

#[test]
fn every_family_is_refused_and_nothing_behind_it_is_served() {
    on_both_drivers(|driver| {
        let upstream = Upstream::echo();
        let gateway = Setup::new(driver, upstream.config()).start();
        for (bytes, status) in corpus() {
            let mut client = gateway.connect();
            client.send(bytes.as_bytes());
            let reply = client.response();
            assert_eq!(reply.status, status, "{bytes:?} gave {reply:?}");
            assert_eq!(reply.header("connection"), Some("close"), "{bytes:?}");
            assert!(!reply.error().1.is_empty());
            assert!(client.unread.is_empty() && client.is_closed(), "{bytes:?}");
        }
        assert_eq!(upstream.count(), 0, "{:?}", upstream.seen);
        // It still serves.
        assert_eq!(gateway.chat(&ask("hello")).status, 200);
    });
}

#[test]
fn nothing_that_frames_a_message_crosses_to_the_provider() {
    on_both_drivers(|driver| {
        let upstream = Upstream::echo();
        let gateway = Setup::new(driver, upstream.config()).start();
        let body = ask("hello").to_string();
        let chunks = format!("{:x}\r\n{body}\r\n0\r\nx-trailer: evil\r\n\r\n", body.len());
        let head = "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\nconnection: x-secret\r\nkeep-alive: 5\r\nte: trailers\r\ntrailer: x-trailer\r\nproxy-authorization: p\r\nx-secret: s\r\ncookie: c\r\nauthorization: Bearer client-key\r\ntraceparent: 00-a-b-01\r\n\r\n";
        let mut client = gateway.connect();
        client.send(format!("{head}{chunks}").as_bytes());
        assert_eq!(client.response().status, 200);
        let seen = upstream.last();
        let mut names: Vec<&str> = seen
            .message
            .headers
            .iter()
            .map(|(name, _)| name.as_str())
            .collect();
        names.sort_unstable();
        names.retain(|name| !name.starts_with("x-request-id"));
        let expected = [
            "accept",
            "accept-encoding",
            "content-length",
            "content-type",
            "host",
            "traceparent",
            "user-agent",
        ];
        let lower: Vec<String> = names.iter().map(|name| name.to_ascii_lowercase()).collect();
        assert_eq!(lower, expected);
        assert_eq!(
            seen.header("host"),
            Some(upstream.address.to_string().as_str())
        );
    });
}
