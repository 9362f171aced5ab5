//! Failover: the next target is tried on connect failure, 429, 5xx, a deadline or an answer that cannot
//! be used, as long as nothing was relayed; and never otherwise.

use crate::harness::*;
use serde_json::json;
use std::io::Write;
use std::net::TcpListener;
use std::time::{Duration, Instant};

/// An address where nobody listens.
fn dead_address() -> String {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .to_string()
}

/// A provider that fails as its question says.
fn failing() -> Upstream {
    Upstream::start(|seen, stream| {
        let error = json!({"error": {"message": "no", "type": "t", "param": null, "code": "c"}});
        match seen.question().split(' ').next().unwrap() {
            "429" => stream.write_all(format!("HTTP/1.1 429 X\r\ncontent-type: application/json\r\nretry-after: 7\r\ncontent-length: {}\r\n\r\n{error}", error.to_string().len()).as_bytes()).is_ok(),
            "500" => write_json(stream, 500, &error),
            "503html" => write_with(stream, 503, "text/html", b"<html>bad gateway</html>"),
            "200html" => write_with(stream, 200, "text/html", b"<html>captive portal</html>"),
            "200cut" => write_with(stream, 200, "application/json", b"{\"choices\":[{\"mess"),
            "garbage" => stream.write_all(b"SSH-2.0-x\r\n\r\n").is_ok(),
            "close" => false,
            "half" => {
                stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 500\r\n\r\n{\"cho").unwrap();
                false
            }
            "slow" => {
                std::thread::sleep(Duration::from_secs(3));
                false
            }
            "400" => write_json(stream, 400, &error),
            "401" => write_json(stream, 401, &error),
            other => panic!("{other}"),
        }
    })
}

const CASES: [&str; 10] = [
    "429", "500", "503html", "200html", "200cut", "garbage", "close", "half", "slow", "401",
];

#[test]
fn the_next_target_is_tried_before_anything_was_relayed() {
    on_both_drivers(|driver| {
        let (first, second) = (failing(), Upstream::echo());
        let mut config = second.provider("second");
        // A provider for each case: what one case teaches must not change the next.
        for case in CASES.into_iter().chain(["400"]) {
            for streams in [false, true] {
                let name = format!("{case}-{streams}");
                let address = first.address.to_string();
                config.push_str(&provider(&name, &address, "first_byte_timeout = \"300ms\""));
                config.push_str(&model(&name, &[&name, "second"]));
            }
        }
        let gateway = Setup::new(driver, config).start();
        for case in CASES {
            for streams in [false, true] {
                let name = format!("{case}-{streams}");
                let body = with(ask(&format!("{case} {streams}")), "stream", streams.into());
                let reply = gateway.chat(&with(body, "model", name.as_str().into()));
                assert_eq!(reply.status, 200, "{case}: {reply:?}");
                assert_eq!(reply.content(), format!("answer to: {case} {streams}"));
                let target = format!("second/{name}-at-second");
                assert_eq!(reply.header("x-ringside-target"), Some(&*target));
                assert_eq!(reply.header("x-ringside-attempts"), Some("2"), "{case}");
            }
        }
        // What is the request's own fault is not tried elsewhere.
        let reply = gateway.chat(&with(ask("400"), "model", "400-false".into()));
        assert_eq!(reply.status, 400);
        assert_eq!(reply.json()["error"]["code"], "c");
        assert_eq!(reply.header("x-ringside-attempts"), Some("1"));
        for (case, outcome) in [("429", "rate_limited"), ("slow", "first_byte_timeout")] {
            let name = format!(
                "ringside_upstream_attempts_total{{target=\"{case}-true/{case}-true-at-{case}-true\",outcome=\"{outcome}\"}}"
            );
            assert_eq!(gateway.metric(&name), 1.0, "{name}");
        }
    });
}

#[test]
fn a_dead_first_target_costs_one_attempt() {
    on_both_drivers(|driver| {
        let second = Upstream::echo();
        let config = format!(
            "{}{}{}",
            provider("first", &dead_address(), ""),
            second.provider("second"),
            model("m", &["first", "second"]),
        );
        let gateway = Setup::new(driver, config).start();
        let reply = gateway.chat(&ask("hello"));
        assert_eq!(
            (reply.status, reply.header("x-ringside-attempts")),
            (200, Some("2"))
        );
    });
}

#[test]
fn when_every_target_fails_the_client_gets_the_reason() {
    on_both_drivers(|driver| {
        let only = failing();
        let cases = [
            ("429", 429, "c"),
            ("500", 500, "c"),
            ("401", 401, "c"),
            ("503html", 503, "upstream_not_json"),
            ("200html", 502, "upstream_not_json"),
            ("200cut", 502, "upstream_not_json"),
            ("garbage", 502, "upstream_malformed"),
            ("close", 502, "upstream_connection_closed"),
            ("half", 502, "upstream_closed_early"),
            ("slow", 504, "upstream_timeout"),
        ];
        let mut config = format!(
            "{}{}{}{}",
            provider("dead", &dead_address(), ""),
            provider("nameless", "no-such-host.invalid:80", ""),
            model("d", &["dead"]),
            model("n", &["nameless"]),
        );
        for (case, ..) in cases {
            let address = only.address.to_string();
            config.push_str(&provider(case, &address, "first_byte_timeout = \"300ms\""));
            config.push_str(&model(case, &[case]));
        }
        let gateway = Setup::new(driver, config).start();
        for (case, status, code) in cases {
            let reply = gateway.chat(&with(ask(case), "model", case.into()));
            assert_eq!(
                (reply.status, reply.error().0.as_str()),
                (status, code),
                "{reply:?}"
            );
            assert!(!reply.text().contains("<html>"));
            let waits = reply.header("retry-after");
            assert_eq!(waits, (case == "429").then_some("7"), "{reply:?}");
        }
        for name in ["d", "n"] {
            let reply = gateway.chat(&with(ask("x"), "model", name.into()));
            assert_eq!(
                (reply.status, reply.error().0.as_str()),
                (502, "upstream_unreachable")
            );
            // The client learns which provider; addresses are for the operator's log.
            assert!(!reply.text().contains("127.0.0.1"), "{}", reply.text());
        }
        let line = gateway.wait_for_log(|line| line["model"] == "d");
        assert!(
            line["detail"].as_str().unwrap().contains("127.0.0.1"),
            "{line}"
        );
    });
}

#[test]
fn a_reused_connection_that_died_is_tried_once_more_on_a_fresh_one() {
    on_both_drivers(|driver| {
        // Answers the first request of each connection and closes on the second, unread.
        let upstream = Upstream::start(|seen, stream| {
            let first = seen.question().starts_with("first");
            let fine = write_json(stream, 200, &chat_response("fine"));
            if first {
                // Keep it open until the gateway has pooled it and sends again.
                let mut next = Vec::new();
                let mut byte = [0];
                while std::io::Read::read(stream, &mut byte).unwrap_or(0) > 0 {
                    next.push(byte[0]);
                    if next.ends_with(b"\r\n\r\n") {
                        return false;
                    }
                }
            }
            fine
        });
        // Each core has its own connections.
        let setup = Setup::new(driver, upstream.config());
        let gateway = setup.server("cores = 1").start();
        assert_eq!(gateway.chat(&ask("first")).status, 200);
        let reply = gateway.chat(&ask("second"));
        assert_eq!(reply.status, 200, "{reply:?}");
        assert_eq!(reply.header("x-ringside-attempts"), Some("2"));
        gateway.wait_for_metric("ringside_upstream_reuses_total", 1.0);
    });
}

#[test]
fn a_fresh_connection_that_dies_is_not_tried_again() {
    on_both_drivers(|driver| {
        let upstream = Upstream::start(|_, _| false);
        let gateway = Setup::new(driver, upstream.config()).start();
        let reply = gateway.chat(&ask("paid for once"));
        assert_eq!(
            (reply.status, reply.header("x-ringside-attempts")),
            (502, Some("1"))
        );
        assert_eq!(upstream.count(), 1);
    });
}

#[test]
fn connections_are_reused_and_dead_idle_ones_are_noticed() {
    on_both_drivers(|driver| {
        let upstream = Upstream::echo();
        let config = format!(
            "{}{}",
            provider(
                "up",
                &upstream.address.to_string(),
                "idle_timeout = \"1500ms\""
            ),
            model("m", &["up"])
        );
        // Each core has its own connections.
        let gateway = Setup::new(driver, config).server("cores = 1").start();
        for at in 0..10 {
            gateway.chat(&ask(&format!("{at}")));
        }
        assert_eq!(
            upstream
                .connections
                .load(std::sync::atomic::Ordering::SeqCst),
            1
        );
        let began = Instant::now();
        gateway.wait_for_metric("ringside_upstream_idle_connections", 0.0);
        assert!(
            began.elapsed() >= Duration::from_millis(500),
            "closed before its time"
        );
        assert_eq!(
            gateway.chat(&ask("later")).header("x-ringside-attempts"),
            Some("1")
        );
        assert_eq!(
            upstream
                .connections
                .load(std::sync::atomic::Ordering::SeqCst),
            2
        );
    });
}

#[test]
fn an_answer_with_bytes_behind_it_is_not_reused() {
    on_both_drivers(|driver| {
        let upstream = Upstream::start(|_, stream| {
            let body = chat_response("one").to_string();
            let forged = chat_response("forged").to_string();
            let message = |body: &str| {
                format!(
                    "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
                    body.len()
                )
            };
            stream
                .write_all((message(&body) + &message(&forged)).as_bytes())
                .is_ok()
        });
        let gateway = Setup::new(driver, upstream.config()).start();
        for at in 0..5 {
            assert_eq!(gateway.chat(&ask(&format!("{at}"))).content(), "one");
        }
        assert_eq!(
            upstream
                .connections
                .load(std::sync::atomic::Ordering::SeqCst),
            5
        );
    });
}

#[test]
fn several_api_keys_take_turns() {
    let upstream = Upstream::echo();
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("k1"), "key-one\n").unwrap();
    std::fs::write(folder.path().join("k2"), "key-two\n").unwrap();
    let config = format!(
        "{}{}",
        provider(
            "up",
            &upstream.address.to_string(),
            "api_keys = [\"file:k1\", \"file:k2\"]"
        ),
        model("m", &["up"])
    );
    let gateway = Setup::new("io_uring", config)
        .server("cores = 1")
        .start_in(folder);
    for at in 0..4 {
        gateway.chat(&ask(&format!("{at}")));
    }
    let seen = upstream.seen.lock().unwrap();
    let keys: Vec<_> = seen
        .iter()
        .map(|one| one.header("authorization").unwrap().to_owned())
        .collect();
    assert_eq!(
        keys,
        [
            "Bearer key-one",
            "Bearer key-two",
            "Bearer key-one",
            "Bearer key-two"
        ]
    );
}
