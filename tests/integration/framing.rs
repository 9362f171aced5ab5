//! Framing: however the bytes of a message arrive, the result is the same; what the protocol allows is
//! understood; limits have names.

use crate::harness::*;
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

#[test]
fn any_split_of_a_request_gives_the_same_answer() {
    on_both_drivers(|driver| {
        let upstream = Upstream::echo();
        let gateway = Setup::new(driver, upstream.config()).start();
        let body = ask("split me").to_string();
        let chunked = format!(
            "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n{:x};ext=1\r\n{}\r\n{:x}\r\n{}\r\n0\r\na: b\r\n\r\n",
            10,
            &body[..10],
            body.len() - 10,
            &body[10..]
        );
        let exact =
            String::from_utf8(request("/v1/chat/completions", &[], body.as_bytes())).unwrap();
        let mut client = gateway.connect();
        for whole in [exact, chunked] {
            for split in (1..whole.len()).step_by(3) {
                client.send(&whole.as_bytes()[..split]);
                std::thread::sleep(Duration::from_micros(400));
                client.send(&whole.as_bytes()[split..]);
                let reply = client.response();
                assert_eq!(reply.status, 200, "split at {split}: {reply:?}");
                assert_eq!(reply.content(), "answer to: split me");
            }
        }
        // All on one connection, and after the first all from the cache.
        assert_eq!(upstream.count(), 1);
    });
}

#[test]
fn pipelined_requests_are_answered_in_sequence() {
    on_both_drivers(|driver| {
        let upstream = Upstream::echo();
        let gateway = Setup::new(driver, upstream.config()).start();
        let mut all = Vec::new();
        for at in 0..20 {
            let body = ask(&format!("question {at}")).to_string();
            all.extend(request("/v1/chat/completions", &[], body.as_bytes()));
        }
        let mut client = gateway.connect();
        client.send(&all);
        for at in 0..20 {
            assert_eq!(
                client.response().content(),
                format!("answer to: question {at}")
            );
        }
    });
}

#[test]
fn any_split_of_an_upstream_answer_gives_the_same_result() {
    on_both_drivers(|driver| {
        let whole = chat_response("héllo").to_string();
        let forms: Arc<Vec<Vec<u8>>> = Arc::new(vec![
            format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{whole}", whole.len()).into_bytes(),
            format!("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n{:x}\r\n{whole}\r\n0\r\n\r\n", whole.len()).into_bytes(),
            format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n{whole}").into_bytes(),
            format!("HTTP/1.0 200 OK\r\ncontent-type: application/json\r\n\r\n{whole}").into_bytes(),
        ]);
        let to_send = Arc::clone(&forms);
        // The question says which form and where to split.
        let upstream = Upstream::start(move |seen, stream| {
            let question = seen.question();
            let (form, split) = question.split_once(' ').unwrap();
            let (form, split): (usize, usize) = (form.parse().unwrap(), split.parse().unwrap());
            let bytes = &to_send[form];
            stream.write_all(&bytes[..split]).unwrap();
            std::thread::sleep(Duration::from_micros(400));
            stream.write_all(&bytes[split..]).unwrap();
            form < 2
        });
        let gateway = Setup::new(driver, upstream.config()).start();
        let mut client = gateway.connect();
        for (form, bytes) in forms.iter().enumerate() {
            for split in (1..bytes.len()).step_by(7) {
                let reply = client.post(
                    "/v1/chat/completions",
                    &[],
                    &ask(&format!("{form} {split}")),
                );
                assert_eq!(
                    (reply.status, reply.text()),
                    (200, whole.clone()),
                    "form {form} split {split}"
                );
            }
        }
    });
}

#[test]
fn expect_continue_is_answered_before_the_body() {
    on_both_drivers(|driver| {
        let upstream = Upstream::echo();
        let gateway = Setup::new(driver, upstream.config()).start();
        let body = ask("patient").to_string();
        let mut client = gateway.connect();
        client.send(format!("POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\nexpect: 100-continue\r\ncontent-length: {}\r\n\r\n", body.len()).as_bytes());
        let interim = client.response();
        assert_eq!(interim.status, 100);
        client.send(body.as_bytes());
        assert_eq!(client.response().status, 200);
    });
}

#[test]
fn head_and_http10() {
    on_both_drivers(|driver| {
        let upstream = Upstream::echo();
        let gateway = Setup::new(driver, upstream.config()).start();
        let mut client = gateway.connect();
        client.send(b"HEAD /v1/models HTTP/1.1\r\nhost: localhost\r\n\r\nGET /v1/models HTTP/1.1\r\nhost: localhost\r\n\r\n");
        client.read_until("\r\n\r\n");
        let head = String::from_utf8(client.unread.clone()).unwrap();
        let (first, rest) = head.split_once("\r\n\r\n").unwrap();
        assert!(first.starts_with("HTTP/1.1 200"));
        client.unread = rest.as_bytes().to_vec();
        let get = client.response();
        assert_eq!(get.json()["data"][0]["id"], "m");
        let length = format!("{}", get.body.len());
        let promised = first
            .lines()
            .find(|line| line.to_ascii_lowercase().starts_with("content-length"))
            .unwrap();
        assert!(promised.ends_with(&length), "{promised} {length}");
        // HTTP/1.0: a stream ends with the connection, and is not chunked.
        let mut old = gateway.connect();
        let body = ask_stream("old").to_string();
        old.send(
            format!(
                "POST /v1/chat/completions HTTP/1.0\r\ncontent-length: {}\r\n\r\n{body}",
                body.len()
            )
            .as_bytes(),
        );
        let reply = old.response();
        assert_eq!(reply.header("transfer-encoding"), None);
        assert_eq!(reply.content(), "answer to: old");
        assert!(reply.text().ends_with("data: [DONE]\n\n"));
    });
}

#[test]
fn limits_have_names() {
    on_both_drivers(|driver| {
        let upstream = Upstream::echo();
        let gateway = Setup::new(driver, upstream.config())
            .server("body_max = \"10KiB\"\nhead_timeout = \"200ms\"\nbody_timeout = \"200ms\"\nidle_timeout = \"300ms\"\n")
            .start();
        let fails = |bytes: &[u8], status: u16, name: &str| {
            let mut client = gateway.connect();
            client.send(bytes);
            let reply = client.response();
            assert_eq!(reply.status, status, "{reply:?}");
            assert!(reply.error().1.contains(name), "{reply:?}");
            assert!(client.is_closed());
        };
        fails(
            &request("/v1/chat/completions", &[], &vec![b' '; 11 * 1024]),
            413,
            "server.body_max",
        );
        let chunks = format!(
            "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n2c00\r\n{}\r\n0\r\n\r\n",
            " ".repeat(11 * 1024)
        );
        fails(chunks.as_bytes(), 413, "server.body_max");
        fails(
            format!(
                "GET /{} HTTP/1.1\r\nhost: localhost\r\n\r\n",
                "x".repeat(17_000)
            )
            .as_bytes(),
            431,
            "16384",
        );
        let many: String = (0..65).map(|at| format!("h{at}: v\r\n")).collect();
        fails(
            format!("GET /v1/models HTTP/1.1\r\nhost: localhost\r\n{many}\r\n").as_bytes(),
            431,
            "64",
        );
        fails(
            b"GET /v1/models HTTP/1.1\r\nhost:",
            408,
            "server.head_timeout",
        );
        fails(
            b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-length: 5\r\n\r\nab",
            408,
            "server.body_timeout",
        );
        // An idle connection is closed without a word.
        let mut idle = gateway.connect();
        assert!(idle.is_closed());
    });
}

#[test]
fn connections_beyond_the_limit_are_told_why() {
    let upstream = Upstream::echo();
    let gateway = Setup::new("io_uring", upstream.config())
        .server("cores = 1\nconnections_per_core_max = 3\n")
        .start();
    let mut stored: Vec<Client> = (0..3).map(|_| gateway.connect()).collect();
    for client in &mut stored {
        assert_eq!(
            client.post("/v1/chat/completions", &[], &ask("x")).status,
            200
        );
    }
    let mut fourth = gateway.connect();
    let reply = fourth.response();
    assert_eq!(reply.status, 503);
    assert_eq!(reply.header("retry-after"), Some("1"));
    assert!(reply.error().1.contains("connections_per_core_max"));
    drop(stored);
    wait_until("room again", || {
        let mut client = gateway.connect();
        client.post("/v1/chat/completions", &[], &ask("x")).status == 200
    });
}
