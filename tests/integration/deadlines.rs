//! Slow and failing targets before anything is relayed: one deadline over all attempts, retries after a pause, fallbacks
//! for refused requests, and streams whose first events are held.

use crate::harness::*;
use serde_json::{Value, json};
use std::io::Write;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

const ONE_CORE: &str = "cores = 1\n";
const NO_CACHE: &str = "[cache]\nenabled = false\n";

/// Model `m` at `upstreams`, called `a`, `b`, …, with `keys`.
fn config(upstreams: &[&Upstream], keys: &str) -> String {
    let names = ["a", "b", "c"].get(..upstreams.len()).unwrap();
    let providers = names.iter().zip(upstreams);
    let providers: String = providers
        .map(|(name, upstream)| upstream.provider(name))
        .collect();
    format!("{providers}{}{keys}\n{NO_CACHE}", model("m", names))
}

fn silent() -> Upstream {
    Upstream::start(|_, _| {
        std::thread::sleep(TEST_TIMEOUT);
        false
    })
}

fn failing(status: u16, code: &'static str) -> Upstream {
    Upstream::start(move |_, stream| write_json(stream, status, &refused(code)))
}

fn refused(code: &str) -> Value {
    json!({"error": {"message": "no", "type": "t", "param": null, "code": code}})
}

fn target(reply: &Response) -> &str {
    reply.header("x-ringside-target").unwrap_or_default()
}

fn attempts(reply: &Response) -> &str {
    reply.header("x-ringside-attempts").unwrap_or_default()
}

#[test]
fn one_deadline_is_over_all_attempts_and_the_caller_may_tighten_it() {
    on_both_drivers(|driver| {
        let (first, second) = (failing(500, "c"), silent());
        let config = config(&[&first, &second], "deadline = \"700ms\"");
        let gateway = Setup::new(driver, config).server(ONE_CORE).start();
        let mut client = gateway.connect();
        let mut ask_within = |headers: &[(&str, &str)], body: &Value| {
            let asked_at = Instant::now();
            let reply = client.post("/v1/chat/completions", headers, body);
            (reply, asked_at.elapsed())
        };
        for body in [ask("x"), ask_stream("x")] {
            for (headers, limit, reported) in [
                (vec![], 700, "700 ms, by `deadline` of the model `m`"),
                (
                    vec![("x-ringside-deadline-ms", "100")],
                    100,
                    "100 ms, by x-ringside-deadline-ms",
                ),
                (
                    vec![("x-ringside-deadline-ms", "60000")],
                    700,
                    "700 ms, by `deadline`",
                ),
            ] {
                let (reply, took) = ask_within(&headers, &body);
                let (code, message) = reply.error();
                assert_eq!((reply.status, &*code), (504, "deadline_exceeded"));
                assert!(message.contains(reported), "{message}");
                // Until the first target is open, its failure is reported too.
                let after_another = attempts(&reply) == "2";
                assert_eq!(message.contains("before that"), after_another, "{message}");
                let reported = after_another.then_some("false");
                assert_eq!(reply.header("x-should-retry"), reported);
                assert!(took >= Duration::from_millis(limit), "{took:?}");
                assert!(took < TEST_TIMEOUT / 2, "{took:?}");
            }
        }
        assert!(first.count() >= 5);
        let (reply, _) = ask_within(&[("x-ringside-deadline-ms", "soon")], &ask("x"));
        assert_eq!((reply.status, &*reply.error().0), (400, "invalid_header"));
        // A caller in a hurry says nothing about the target.
        let health = "ringside_target_health{target=\"b/m-at-b\"}";
        gateway.wait_for_metric(health, 1.0);
    });
}

#[test]
fn targets_that_all_failed_are_retried_after_a_pause() {
    on_both_drivers(|driver| {
        let count = AtomicUsize::new(0);
        let flaky = Upstream::start(move |_, stream| {
            if count.fetch_add(1, Ordering::SeqCst) < 2 {
                return write_json(stream, 500, &refused("c"));
            }
            write_json(stream, 200, &chat_response("fine"))
        });
        let setup = Setup::new(driver, config(&[&flaky], "retries = 2"));
        let gateway = setup.server(ONE_CORE).start();
        let asked_at = Instant::now();
        let key = [("idempotency-key", "pay-once")];
        let reply = gateway.post_with("/v1/chat/completions", &key, &ask("x"));
        assert_eq!((reply.status, attempts(&reply)), (200, "3"), "{reply:?}");
        // Half of 250 ms and of 500 ms at least.
        assert!(asked_at.elapsed() >= Duration::from_millis(375));
        let seen = flaky.seen.lock().unwrap();
        assert!(
            seen.iter()
                .all(|one| one.header("idempotency-key") == Some("pay-once"))
        );
        // What was waited is not the gateway's own time.
        let overhead: u64 = reply
            .header("x-ringside-overhead-us")
            .unwrap()
            .parse()
            .unwrap();
        assert!(overhead < 300_000, "{overhead}");
    });
}

#[test]
fn retries_are_budgeted_and_none_outlasts_the_deadline() {
    on_both_drivers(|driver| {
        let dead = failing(500, "c");
        let keys = "retries = 10\ndeadline = \"5s\"";
        let gateway = Setup::new(driver, config(&[&dead], keys))
            .server(ONE_CORE)
            .start();
        let asked_at = Instant::now();
        let reply = gateway.post_with(
            "/v1/chat/completions",
            &[("x-ringside-deadline-ms", "800")],
            &ask("x"),
        );
        assert_eq!((reply.status, &*reply.error().0), (500, "c"));
        assert!(asked_at.elapsed() < TEST_TIMEOUT / 2);
        // 125 ms, 250 ms and 500 ms at least: the third pause would outlast it, the first would not.
        assert!((2..=3).contains(&dead.count()), "{}", dead.count());
        // Ten repeats are saved up, and then one is earned by ten requests.
        let workers: Vec<_> = (0..16)
            .map(|_| {
                let mut client = gateway.connect();
                std::thread::spawn(move || client.post("/v1/chat/completions", &[], &ask("y")))
            })
            .collect();
        for worker in workers {
            assert_eq!(worker.join().unwrap().status, 500);
        }
        assert!(dead.count() <= 17 + 11, "{}", dead.count());
    });
}

#[test]
fn a_limit_that_fits_the_deadline_is_waited_out() {
    on_both_drivers(|driver| {
        let count = AtomicUsize::new(0);
        let limited = Upstream::start(move |_, stream| {
            if count.fetch_add(1, Ordering::SeqCst) > 0 {
                return write_json(stream, 200, &chat_response("fine"));
            }
            let body = refused("rate").to_string();
            let head = format!(
                "HTTP/1.1 429 X\r\ncontent-type: application/json\r\nretry-after-ms: 600\r\ncontent-length: {}\r\n\r\n",
                body.len()
            );
            stream.write_all((head + &body).as_bytes()).is_ok()
        });
        let gateway = Setup::new(driver, config(&[&limited], "retries = 1"))
            .server(ONE_CORE)
            .start();
        let asked_at = Instant::now();
        let reply = gateway.chat(&ask("x"));
        assert_eq!((reply.status, attempts(&reply)), (200, "2"), "{reply:?}");
        assert!(asked_at.elapsed() >= Duration::from_millis(600));
    });
}

#[test]
fn a_client_that_hangs_up_in_a_pause_ends_the_request() {
    on_both_drivers(|driver| {
        let dead = failing(500, "c");
        let gateway = Setup::new(driver, config(&[&dead], "retries = 10"))
            .server(ONE_CORE)
            .start();
        let mut client = gateway.connect();
        let body = ask("x").to_string();
        client.send(&request("/v1/chat/completions", &[], body.as_bytes()));
        wait_until("the first attempt", || dead.count() > 0);
        drop(client);
        let line = gateway.wait_for_log(|line| line["status"] == 499);
        assert_eq!(line["error_code"], "client_disconnected", "{line}");
    });
}

#[test]
fn what_is_refused_for_its_content_goes_to_the_fallback_for_it_and_nowhere_else() {
    on_both_drivers(|driver| {
        let small = Upstream::start(|seen, stream| {
            let code: &str = match &*seen.question() {
                "long" => "context_length_exceeded",
                "rude" => "content_filter",
                _ => "invalid_value",
            };
            write_json(stream, 400, &refused(code))
        });
        let (other, large) = (Upstream::echo(), Upstream::echo());
        let text = config(
            &[&small, &other],
            "fallback = { context_length = \"large\", content_policy = \"strict\" }",
        );
        let strict = failing(400, "content_policy_violation");
        let text = format!(
            "{text}{}{}{}{}",
            large.provider("l"),
            model("large", &["l"]),
            strict.provider("s"),
            model("strict", &["s"]),
        );
        let gateway = Setup::new(driver, text).server(ONE_CORE).start();
        for body in [ask("long"), ask_stream("long")] {
            let reply = gateway.chat(&body);
            assert_eq!((reply.status, target(&reply)), (200, "l/large-at-l"));
            assert_eq!(reply.content(), "answer to: long");
        }
        assert_eq!(large.last().json()["messages"], ask("long")["messages"]);
        // The fallback refuses too: the client gets the first refusal.
        let reply = gateway.chat(&ask("rude"));
        assert_eq!((reply.status, &*reply.error().0), (400, "content_filter"));
        assert_eq!(target(&reply), "a/m-at-a");
        assert_eq!(strict.count(), 1);
        let reply = gateway.chat(&ask("odd"));
        assert_eq!((reply.status, attempts(&reply)), (400, "1"));
        assert_eq!(other.count(), 0, "a refusal was tried at the next target");
    });
}

#[test]
fn a_key_that_may_not_use_the_fallback_gets_the_refusal() {
    let small = failing(400, "context_length_exceeded");
    let large = Upstream::echo();
    // printf %s some | sha256sum
    let key = "[[keys]]\nname = \"some\"\nsha256 = \"a6b46dd0d1ae5e86cbc8f37e75ceeb6760230c1ca4ffbcb0c97b96dd7d9c464b\"\nmodels = [\"m\"]\n";
    let text = format!(
        "{}{}{}{key}",
        config(&[&small], "fallback = { context_length = \"large\" }"),
        large.provider("l"),
        model("large", &["l"]),
    );
    let gateway = Setup::new("epoll", text).start();
    let bearer = [("authorization", "Bearer some")];
    let reply = gateway.post_with("/v1/chat/completions", &bearer, &ask("x"));
    assert_eq!((reply.status, large.count()), (400, 0), "{reply:?}");
}

/// Sends `events` words of a stream one by one, then breaks off.
fn cut_after(events: usize) -> Upstream {
    Upstream::start(move |_, stream| {
        let _ = stream.write_all(stream_head());
        for at in 0..events {
            let _ = stream.write_all(&chunk(&delta(&format!("{at} "))));
            std::thread::sleep(Duration::from_millis(20));
        }
        false
    })
}

#[test]
fn a_stream_that_breaks_while_it_is_held_is_not_seen() {
    on_both_drivers(|driver| {
        for events in [0, 1, 2, 5] {
            let (cut, fine) = (cut_after(events), Upstream::echo());
            let keys = "first_chunk_hold = \"5s\"";
            let gateway = Setup::new(driver, config(&[&cut, &fine], keys)).start();
            let reply = gateway.chat(&ask_stream("all of it"));
            assert_eq!(reply.content(), "answer to: all of it", "{events}");
            assert_eq!((target(&reply), attempts(&reply)), ("b/m-at-b", "2"));
            assert!(reply.text().ends_with("data: [DONE]\n\n"));
            assert!(!reply.text().contains("\"error\""), "{}", reply.text());
        }
    });
}

#[test]
fn a_stream_that_is_held_loses_nothing_and_goes_on_when_the_time_is_over() {
    on_both_drivers(|driver| {
        let slow = Upstream::start(|_, stream| {
            let _ = stream.write_all(stream_head());
            for at in 0..10 {
                let _ = stream.write_all(&chunk(&delta(&format!("{at} "))));
                std::thread::sleep(Duration::from_millis(30));
            }
            let _ = stream.write_all(&chunk(&stream_end()));
            stream.write_all(b"0\r\n\r\n").is_ok()
        });
        let gateway = Setup::new(driver, config(&[&slow], "first_chunk_hold = \"100ms\"")).start();
        for _ in 0..3 {
            let reply = gateway.chat(&ask_stream("x"));
            assert_eq!(reply.content(), "0 1 2 3 4 5 6 7 8 9 ");
            assert!(reply.text().ends_with("data: [DONE]\n\n"));
        }
        // The time of a break after it was held is the client's to see.
        let cut = cut_after(40);
        let gateway = Setup::new(
            driver,
            config(&[&cut, &slow], "first_chunk_hold = \"40ms\""),
        )
        .start();
        let reply = gateway.chat(&ask_stream("x"));
        assert_eq!((target(&reply), attempts(&reply)), ("a/m-at-a", "1"));
        assert!(reply.text().contains("upstream_closed_early"));
        assert!(reply.content().starts_with("0 1 2 "), "{reply:?}");
    });
}

#[test]
fn a_stream_that_begins_with_an_error_event_is_tried_elsewhere() {
    on_both_drivers(|driver| {
        let overloaded = Upstream::start(|_, stream| {
            let event = format!("data: {}\n\n", refused("overloaded"));
            let _ = stream.write_all(&[stream_head(), &chunk(&event), b"0\r\n\r\n"].concat());
            true
        });
        let fine = Upstream::echo();
        let gateway = Setup::new(driver, config(&[&overloaded, &fine], "")).start();
        let reply = gateway.chat(&ask_stream("x"));
        assert_eq!((target(&reply), attempts(&reply)), ("b/m-at-b", "2"));
        assert_eq!(reply.content(), "answer to: x");
    });
}
