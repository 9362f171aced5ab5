//! Hedging: a late request is sent to a second target as well. The client gets the first good response, the other attempt
//! is cancelled at once, and the extra tokens are bounded.

use crate::harness::*;
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

const ONE_CORE: &str = "cores = 1\n";

fn answer(seen: &Seen, stream: &mut TcpStream, content: &str) -> bool {
    if seen.json()["stream"] == true {
        write_stream(stream, content)
    } else {
        write_json(stream, 200, &chat_response(content))
    }
}

/// The question that is answered late. Other questions measure latencies: on a busy machine some of them are hedged too,
/// and must not be mistaken for this one.
const LATE: &str = "late";

/// A target that does not respond to [`LATE`]. It counts these requests, and how many of their connections the gateway
/// has closed.
struct Sleeper {
    upstream: Upstream,
    sent: Arc<AtomicUsize>,
    left: Arc<AtomicUsize>,
}

fn sleeper() -> Sleeper {
    let (sent, left) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
    let (counts_sent, counts_left) = (Arc::clone(&sent), Arc::clone(&left));
    let upstream = Upstream::start(move |seen, stream| {
        if seen.question() == LATE {
            counts_sent.fetch_add(1, Ordering::SeqCst);
            stream.set_read_timeout(Some(TEST_TIMEOUT)).unwrap();
            let closed = matches!(stream.read(&mut [0]), Ok(0));
            counts_left.fetch_add(usize::from(closed), Ordering::SeqCst);
            return false;
        }
        answer(seen, stream, "from the first")
    });
    Sleeper {
        upstream,
        sent,
        left,
    }
}

fn second() -> Upstream {
    Upstream::start(|seen, stream| answer(seen, stream, "from the second"))
}

fn config(first: &Upstream, second: &Upstream, share_max: f64) -> String {
    format!(
        "{}{}{}hedge = {{ enabled = true, extra_tokens_share_max = {share_max} }}\n[cache]\nenabled = false\n",
        first.provider("a"),
        second.provider("b"),
        model("m", &["a", "b"]),
    )
}

/// Measures enough responses of the first target to know what is late.
fn learn(gateway: &Gateway, body: &Value) {
    let mut client = gateway.connect();
    for _ in 0..100 {
        let reply = client.post("/v1/chat/completions", &[], body);
        assert_eq!(reply.status, 200, "{reply:?}");
    }
}

fn hedged(reply: &Response) -> Option<&str> {
    reply.header("x-ringside-hedged")
}

#[test]
fn a_late_request_is_answered_by_the_second_target_and_the_first_is_cancelled_at_once() {
    on_both_drivers(|driver| {
        for (body, late) in [(ask_stream("x"), ask_stream(LATE)), (ask("x"), ask(LATE))] {
            let (first, second) = (sleeper(), second());
            let config = config(&first.upstream, &second, 0.5);
            let gateway = Setup::new(driver, config).server(ONE_CORE).start();
            learn(&gateway, &body);
            for nth in 1..=3 {
                let reply = gateway.chat(&late);
                assert_eq!(
                    (reply.status, hedged(&reply)),
                    (200, Some("won")),
                    "{reply:?}"
                );
                assert_eq!(reply.content(), "from the second");
                assert_eq!(reply.header("x-ringside-target"), Some("b/m-at-b"));
                assert_eq!(reply.header("x-ringside-attempts"), Some("2"));
                wait_until("the first is left", || {
                    first.left.load(Ordering::SeqCst) == nth
                });
            }
            let line = gateway.wait_for_log(|line| line["hedged"] == "won");
            assert!(
                line["hedge_tokens_estimated"].as_u64().unwrap() > 0,
                "{line}"
            );
            let won = "ringside_hedges_total{gen_ai_request_model=\"m\",outcome=\"won\"}";
            assert!(gateway.metric(won) >= 3.0);
            let tokens = "ringside_hedge_tokens_estimated_total{gen_ai_request_model=\"m\"}";
            assert!(gateway.metric(tokens) > 0.0);
            // A hedge that is cancelled is not a failure.
            gateway.wait_for_metric("ringside_target_health{target=\"a/m-at-a\"}", 1.0);
            let outstanding = "ringside_target_in_flight{target=\"a/m-at-a\"}";
            gateway.wait_for_metric(outstanding, 0.0);
        }
    });
}

#[test]
fn the_first_target_may_still_answer_first() {
    on_both_drivers(|driver| {
        let second = sleeper();
        let sent = Arc::clone(&second.sent);
        // Late until the second target has the request.
        let first = Upstream::start(move |seen, stream| {
            let until = Instant::now() + TEST_TIMEOUT;
            while seen.question() == LATE && sent.load(Ordering::SeqCst) == 0 {
                assert!(
                    Instant::now() < until,
                    "the second target never got the request"
                );
                std::thread::sleep(Duration::from_millis(1));
            }
            answer(seen, stream, "from the first")
        });
        let config = config(&first, &second.upstream, 0.5);
        let gateway = Setup::new(driver, config).server(ONE_CORE).start();
        learn(&gateway, &ask_stream("x"));
        let reply = gateway.chat(&ask_stream(LATE));
        assert_eq!(
            (reply.status, hedged(&reply)),
            (200, Some("lost")),
            "{reply:?}"
        );
        assert_eq!(reply.content(), "from the first");
        assert_eq!(reply.header("x-ringside-target"), Some("a/m-at-a"));
        wait_until("the second is left", || {
            second.left.load(Ordering::SeqCst) == 1
        });
    });
}

#[test]
fn a_request_that_may_not_repeat_or_exceeds_the_budget_is_not_hedged() {
    on_both_drivers(|driver| {
        let first = Upstream::start(move |seen, stream| {
            if seen.question() == LATE {
                std::thread::sleep(Duration::from_millis(300));
            }
            answer(seen, stream, "from the first")
        });
        let second = second();
        let body = ask_stream(LATE);
        let waits = |share_max: f64, headers: &[(&str, &str)], body: &Value| {
            let config = config(&first, &second, share_max);
            let gateway = Setup::new(driver, config).server(ONE_CORE).start();
            learn(&gateway, &ask_stream("x"));
            let reply = gateway.post_with("/v1/chat/completions", headers, body);
            assert_eq!(
                (hedged(&reply), reply.content().as_str()),
                (None, "from the first")
            );
            let refused = "ringside_hedges_total{gen_ai_request_model=\"m\",outcome=\"refused\"}";
            gateway.metric(refused)
        };
        assert_eq!(waits(0.5, &[("idempotency-key", "k")], &body), 0.0);
        assert_eq!(
            waits(0.5, &[], &with(body.clone(), "store", json!(true))),
            0.0
        );
        assert!(waits(0.0, &[], &body) >= 1.0);
    });
}

#[test]
fn when_one_of_two_attempts_fails_the_other_answers() {
    on_both_drivers(|driver| {
        let first = Upstream::start(move |seen, stream| {
            if seen.question() == LATE {
                std::thread::sleep(Duration::from_millis(400));
            }
            answer(seen, stream, "from the first")
        });
        let failing = Upstream::start(|seen, stream| {
            if seen.question() == LATE {
                return write_json(stream, 500, &json!({"error": {"message": "no"}}));
            }
            answer(seen, stream, "from the second")
        });
        let config = config(&first, &failing, 0.5);
        let gateway = Setup::new(driver, config).server(ONE_CORE).start();
        learn(&gateway, &ask_stream("x"));
        let reply = gateway.chat(&ask_stream(LATE));
        assert_eq!(
            (reply.status, hedged(&reply)),
            (200, Some("lost")),
            "{reply:?}"
        );
        assert_eq!(reply.content(), "from the first");
        assert_eq!(reply.header("x-ringside-attempts"), Some("2"));
    });
}

#[test]
fn a_client_that_hangs_up_ends_both_attempts() {
    on_both_drivers(|driver| {
        let (first, second) = (sleeper(), sleeper());
        let config = config(&first.upstream, &second.upstream, 0.5);
        let gateway = Setup::new(driver, config).server(ONE_CORE).start();
        learn(&gateway, &ask_stream("x"));
        let mut client = gateway.connect();
        let body = ask_stream(LATE).to_string();
        client.send(&request("/v1/chat/completions", &[], body.as_bytes()));
        wait_until("the second target has the request", || {
            second.sent.load(Ordering::SeqCst) == 1
        });
        drop(client);
        wait_until("both are left", || {
            [&first, &second].map(|target| target.left.load(Ordering::SeqCst)) == [1, 1]
        });
        let line = gateway.wait_for_log(|line| line["status"] == 499);
        assert_eq!(line["error_code"], "client_disconnected");
    });
}

/// A stream that reports a million tokens.
fn write_costly(stream: &mut TcpStream) -> bool {
    let end = stream_end().replace("\"prompt_tokens\":7", "\"prompt_tokens\":1000000");
    let body = [
        chunk(&delta("from the first")),
        chunk(&end),
        b"0\r\n\r\n".to_vec(),
    ]
    .concat();
    stream.write_all(&[stream_head(), &body].concat()).is_ok()
}

#[test]
fn a_request_that_is_still_being_sent_is_cancelled_at_once_too() {
    on_both_drivers(|driver| {
        let is_deaf = Arc::new(AtomicBool::new(false));
        let deaf = Arc::clone(&is_deaf);
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        // Reads nothing while it is deaf.
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (mut stream, deaf) = (stream.unwrap(), Arc::clone(&deaf));
                std::thread::spawn(move || {
                    let mut unread = Vec::new();
                    while stream.peek(&mut [0]).is_ok_and(|count| count > 0) {
                        while deaf.load(Ordering::SeqCst) {
                            std::thread::sleep(Duration::from_millis(5));
                        }
                        if read_message(&mut stream, &mut unread).is_none() {
                            return;
                        }
                        write_costly(&mut stream);
                    }
                });
            }
        });
        let second = second();
        let own = second.provider("a");
        let deaf_one = own.replace(&second.address.to_string(), &address);
        let config = config(&second, &second, 0.5).replace(&own, &deaf_one);
        let gateway = Setup::new(driver, config).server(ONE_CORE).start();
        learn(&gateway, &ask_stream("x"));
        is_deaf.store(true, Ordering::SeqCst);
        // More than the sockets' buffers hold.
        let reply = gateway.chat(&ask_stream(&"word ".repeat(3_000_000)));
        assert_eq!((reply.status, hedged(&reply)), (200, Some("won")));
        assert_eq!(reply.content(), "from the second");
        is_deaf.store(false, Ordering::SeqCst);
    });
}
