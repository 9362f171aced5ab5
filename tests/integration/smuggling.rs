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

/// The cases that HAProxy's public tests (`reg-tests/http-messaging`) add to those above.
fn haproxys_tests() -> Vec<(String, u16)> {
    let get = |line: &str, headers: &str| format!("{line}\r\n{headers}\r\n{NEXT}");
    let model = "GET /v1/models HTTP/1.1";
    vec![
        // HAProxy, h1_host_normalization and http_host: the host is one name, with at most a port.
        (get(model, "host: a\r\nhost: a\r\n"), 400),
        (get(model, "host: a, b\r\n"), 400),
        (get(model, "host: a b@c/d?e\r\n"), 400),
        (get(model, "host:\r\n"), 400),
        (get(model, "host: http://a\r\n"), 400),
        (get(model, "host: a:80:80\r\n"), 400),
        (get("GET http://a/v1/models HTTP/1.1", "host: b\r\n"), 400),
        (get("GET //a/v1/models#f HTTP/1.1", "host: a\r\n"), 400),
        (get("GET * HTTP/1.1", "host: a\r\n"), 400),
        // HAProxy, h1_to_h1 and http_transfer_encoding: one coding, once, and no length beside it.
        (
            post("transfer-encoding: chunked, chunked\r\n", "0\r\n\r\n"),
            501,
        ),
        (post("transfer-encoding: ,chunked\r\n", "0\r\n\r\n"), 501),
        (post("transfer-encoding: chunked,\r\n", "0\r\n\r\n"), 501),
        (post("transfer-encoding: chunked;q=1\r\n", "0\r\n\r\n"), 501),
        (post("transfer-encoding:\r\n", "0\r\n\r\n"), 501),
        (post("transfer-encoding: \x0bchunked\r\n", "0\r\n\r\n"), 400),
        (
            post(
                "transfer-encoding: chunked\r\ntransfer-encoding: identity\r\n",
                "0\r\n\r\n",
            ),
            501,
        ),
        (
            post("content-length: 0\r\ntransfer-encoding: xchunked\r\n", ""),
            400,
        ),
        // HAProxy, h1_content_length: digits only.
        (post("content-length: 5 5\r\n", "hello"), 400),
        (post("content-length: 5;\r\n", "hello"), 400),
        (post("content-length: \"5\"\r\n", "hello"), 400),
        (post("content-length: 5.0\r\n", "hello"), 400),
        (post("content-length: 5_0\r\n", "hello"), 400),
        (post("content-length:\r\n", ""), 400),
        (post("content-length: ,5\r\n", "hello"), 400),
        (
            post("content-length: 18446744073709551621\r\n", "hello"),
            400,
        ),
        (post("content-length : 5\r\n", "hello"), 400),
        (post("content-length\t: 5\r\n", "hello"), 400),
    ]
}

/// The cases that llhttp's public tests (`test/request`) add to those above.
fn llhttps_tests() -> Vec<(String, u16)> {
    let chunked = "transfer-encoding: chunked\r\n";
    let get = |line: &str, headers: &str| format!("{line}\r\n{headers}\r\n{NEXT}");
    vec![
        // llhttp, invalid and lenient-*: what only lenient parsers accept.
        (post("x y: z\r\n", ""), 400),
        (post(": z\r\n", ""), 400),
        (post("x\r\n", ""), 400),
        (post("x: y\r\r\n", ""), 400),
        (post("x: y\r\n\t z\r\n", ""), 400),
        (post("x: \x01\r\n", ""), 400),
        (post("x\u{e9}: y\r\n", ""), 400),
        (get("GET /v1/models", "host: a\r\n"), 400),
        (get("GET /v1/models HTTP/1.1 ", "host: a\r\n"), 400),
        (get(" GET /v1/models HTTP/1.1", "host: a\r\n"), 400),
        (get("GET\t/v1/models\tHTTP/1.1", "host: a\r\n"), 400),
        (get("GET /v1/models http/1.1", "host: a\r\n"), 400),
        (get("GET /v1/models HTTP/1.10", "host: a\r\n"), 505),
        (get("GET /v1/models HTTP/0.9", "host: a\r\n"), 505),
        (get("GET /v1/models HTTP/9.9", "host: a\r\n"), 505),
        (get("GET /v1/models ICE/1.0", "host: a\r\n"), 400),
        (get("GET /v1/mo\x7fdels HTTP/1.1", "host: a\r\n"), 400),
        (get("GET /v1/mo\u{e9}dels HTTP/1.1", "host: a\r\n"), 400),
        (get("PRI * HTTP/2.0", ""), 505),
        (
            format!("\r\n\r\n\r\nGET /v1/models HTTP/1.1\r\nhost: a\r\n\r\n{NEXT}"),
            400,
        ),
        // llhttp, transfer-encoding: sizes and line ends of chunks.
        (post(chunked, "5 \r\nhello\r\n0\r\n\r\n"), 400),
        (post(chunked, " 5\r\nhello\r\n0\r\n\r\n"), 400),
        (post(chunked, "5\nhello\n0\n\n"), 400),
        (post(chunked, "5\r\nhello\n0\r\n\r\n"), 400),
        (post(chunked, "5\r\nhello0\r\n\r\n"), 400),
        (post(chunked, "5\rXhello\r\n0\r\n\r\n"), 400),
        (post(chunked, "+5\r\nhello\r\n0\r\n\r\n"), 400),
        (post(chunked, "5_\r\nhello\r\n0\r\n\r\n"), 400),
        (post(chunked, "5,\r\nhello\r\n0\r\n\r\n"), 400),
        (post(chunked, ";a=b\r\nhello\r\n0\r\n\r\n"), 400),
        (post(chunked, "5;a=b\0\r\nhello\r\n0\r\n\r\n"), 400),
        (post(chunked, "000000005\r\nhello\r\n0\r\n\r\n"), 400),
        (post(chunked, "0\r\n content-length: 5\r\n\r\n"), 400),
        (post(chunked, "0\r\nx\r\n\r\n"), 400),
        (post(chunked, "0\r\nx: y\n\r\n"), 400),
        (post(chunked, "0\r\nGET /v1/models HTTP/1.1\r\n\r\n"), 400),
    ]
}

#[test]
fn every_family_is_refused_and_nothing_behind_it_is_served() {
    on_both_drivers(|driver| {
        let upstream = Upstream::echo();
        let gateway = Setup::new(driver, upstream.config()).start();
        for (bytes, status) in corpus()
            .into_iter()
            .chain(haproxys_tests())
            .chain(llhttps_tests())
        {
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
