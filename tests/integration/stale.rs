//! Stale responses: when every target fails, an entry past its time to live is served and marked as stale, for the
//! configured time, and not where it could do harm.

use crate::harness::*;
use crate::local_model::ready;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

const PATH: &str = "/v1/chat/completions";
/// An upstream in this state closes the connection without an answer.
const DIES: u16 = 0;

/// Responds with the status that it is set to.
fn moody() -> (Upstream, Arc<AtomicU16>) {
    let state = Arc::new(AtomicU16::new(200));
    let its = Arc::clone(&state);
    let upstream = Upstream::start(move |seen, stream| match its.load(Ordering::SeqCst) {
        DIES => false,
        200 if seen.json()["stream"] == true => write_stream(stream, &seen.question()),
        200 => write_json(stream, 200, &chat_response(&seen.question())),
        status => write_json(stream, status, &json!({"error": {"code": "its own"}})),
    });
    (upstream, state)
}

/// A model whose responses live for `ttl` and may be served stale as `stale_if_error` says.
fn config(upstream: &Upstream, ttl: &str, stale_if_error: &str) -> String {
    let model = model("m", &["up"]);
    let provider = upstream.provider("up");
    format!("{provider}{model}{stale_if_error}\n[cache]\nttl = \"{ttl}\"\n")
}

const DAY: &str = "stale_if_error = \"24h\"";

/// Waits until answers that live for 50 ms are past their time.
fn expire() {
    std::thread::sleep(Duration::from_millis(100));
}

#[test]
fn a_stale_response_is_served_when_every_target_fails() {
    on_both_drivers(|driver| {
        let (upstream, state) = moody();
        let gateway = Setup::new(driver, config(&upstream, "50ms", DAY)).start();
        for question in ["whole", "streamed"] {
            let body = with(ask(question), "stream", (question == "streamed").into());
            assert_eq!(gateway.chat(&body).cache(), "miss");
        }
        expire();
        // As long as a target answers, its answer is served.
        assert_eq!(gateway.chat(&ask("whole")).cache(), "miss");
        expire();
        for (status, why) in [
            (DIES, "upstream_connection_closed"),
            (500, "status 500"),
            (429, "status 429"),
        ] {
            state.store(status, Ordering::SeqCst);
            for body in [ask("whole"), ask_stream("whole"), ask("streamed")] {
                let reply = gateway.chat(&body);
                assert_eq!((reply.status, reply.cache()), (200, "stale"), "{reply:?}");
                let question = body["messages"][0]["content"].as_str().unwrap();
                assert_eq!(reply.content(), question);
                let reported = reply.header("x-ringside-cache-reason").unwrap();
                // Once the target is open no attempt is sent: the reason is the last failure, or that.
                assert!(reported.starts_with("every target failed ("), "{reported}");
                assert!(reported.ends_with("); same request"), "{reported}");
                assert!(
                    reported.contains(why) || reported.contains("rate_limited"),
                    "{reported}"
                );
                assert!(reply.header("age").is_some());
                assert!(reply.header("x-ringside-cache-entry").is_some());
                assert_eq!(reply.header("x-ringside-target"), Some("up/m-at-up"));
            }
        }
        gateway.wait_for_metric("ringside_cache_lookups_total{outcome=\"stale\"}", 9.0);
    });
}

#[test]
fn a_stale_response_is_not_served_where_it_could_do_harm() {
    on_both_drivers(|driver| {
        let (upstream, state) = moody();
        let gateway = Setup::new(driver, config(&upstream, "50ms", DAY)).start();
        let tools = json!([{"type": "function", "function": {"name": "pay"}}]);
        let with_tools = with(ask("q"), "tools", tools);
        let after_a_tool = json!({"model": "m", "messages": [
            {"role": "user", "content": "q"},
            {"role": "tool", "tool_call_id": "x", "content": "done"}]});
        let refused: [(&Value, &[(&str, &str)]); 5] = [
            (&with_tools, &[]),
            (&after_a_tool, &[]),
            (&ask("fresh only"), &[("cache-control", "no-cache")]),
            // The caller requested a shorter time to live.
            (&ask("short"), &[("x-ringside-cache-ttl", "10s")]),
            // Nothing is there.
            (&ask("never asked"), &[]),
        ];
        for (body, headers) in &refused[..4] {
            let reply = gateway.post_with(PATH, headers, body);
            assert_eq!(reply.status, 200);
        }
        assert_eq!(gateway.chat(&ask("plain")).cache(), "miss");
        expire();
        // The request's own fault is no failure of the target.
        state.store(400, Ordering::SeqCst);
        assert_eq!(gateway.chat(&ask("plain")).status, 400);
        state.store(500, Ordering::SeqCst);
        for (body, headers) in refused {
            let reply = gateway.post_with(PATH, headers, body);
            assert!(reply.status >= 500, "{body} {reply:?}");
        }
        assert_eq!(gateway.chat(&ask("plain")).cache(), "stale");
    });
}

#[test]
fn stale_responses_are_off_unless_configured_and_end() {
    on_both_drivers(|driver| {
        for keys in ["", "stale_if_error = \"300ms\""] {
            let (upstream, state) = moody();
            let gateway = Setup::new(driver, config(&upstream, "50ms", keys)).start();
            assert_eq!(gateway.chat(&ask("q")).cache(), "miss");
            state.store(500, Ordering::SeqCst);
            std::thread::sleep(Duration::from_millis(500));
            let reply = gateway.chat(&ask("q"));
            assert_eq!((reply.status, reply.cache()), (500, "miss"));
        }
    });
}

#[test]
fn followers_of_a_failed_call_share_the_stale_response() {
    on_both_drivers(|driver| {
        let (upstream, state) = moody();
        let gateway = Setup::new(driver, config(&upstream, "50ms", DAY)).start();
        assert_eq!(gateway.chat(&ask("q")).cache(), "miss");
        expire();
        state.store(DIES, Ordering::SeqCst);
        let threads: Vec<_> = (0..6)
            .map(|_| {
                let mut client = gateway.connect();
                std::thread::spawn(move || client.post(PATH, &[], &ask("q")))
            })
            .collect();
        for thread in threads {
            let reply = thread.join().unwrap();
            assert_eq!((reply.status, reply.cache()), (200, "stale"), "{reply:?}");
        }
        gateway.wait_for_metric("ringside_coalesce_in_flight", 0.0);
    });
}

#[test]
fn a_stale_response_is_found_by_semantic_search_too() {
    on_both_drivers(|driver| {
        let (upstream, state) = moody();
        let semantic = "[cache.semantic]\nmode = \"serve\"\ndeadline = \"5s\"\n";
        let config = config(&upstream, "1s", DAY) + semantic;
        let gateway = Setup::new(driver, config).start();
        ready(&gateway);
        let sent = "How do I reset my password?";
        assert_eq!(gateway.chat(&ask(sent)).cache(), "miss");
        gateway.wait_for_metric("ringside_cache_vectors", 1.0);
        std::thread::sleep(Duration::from_millis(1200));
        let other = "How can I reset my password?";
        // A stale entry is no hit.
        assert_eq!(
            gateway.chat(&ask("How would I reset my password?")).cache(),
            "miss"
        );
        std::thread::sleep(Duration::from_millis(1200));
        state.store(DIES, Ordering::SeqCst);
        let reply = gateway.chat(&ask(other));
        assert_eq!((reply.status, reply.cache()), (200, "stale"), "{reply:?}");
        let reported = reply.header("x-ringside-cache-reason").unwrap();
        assert!(reported.contains("similarity=0.9"), "{reported}");
        // Stale hits are verified too.
        let reply = gateway.chat(&ask("How do I not reset my password?"));
        assert_eq!((reply.status, reply.cache()), (502, "miss"), "{reply:?}");
    });
}
