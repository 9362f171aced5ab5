//! The exact cache: which responses are stored and served, for how long, and what a caller controls.

use crate::harness::*;
use serde_json::json;
use std::time::{Duration, Instant};

#[test]
fn the_same_request_is_answered_from_the_cache_whole_or_streamed() {
    on_both_drivers(|driver| {
        let upstream = Upstream::echo();
        let gateway = Setup::new(driver, upstream.config()).start();
        for (first, question) in [(false, "asked whole"), (true, "asked streamed")] {
            let fresh = gateway.chat(&with(ask(question), "stream", first.into()));
            assert_eq!(fresh.cache(), "miss");
            let whole = gateway.chat(&ask(question));
            assert_eq!(whole.cache(), "exact");
            assert_eq!(whole.content(), format!("answer to: {question}"));
            assert_eq!(whole.header("x-ringside-target"), Some("up/m-at-up"));
            assert_eq!(whole.header("x-ringside-attempts"), Some("0"));
            let body = whole.json();
            assert_eq!(body["object"], "chat.completion");
            assert_eq!(body["usage"]["total_tokens"], 12);
            assert_eq!(body["choices"][0]["finish_reason"], "stop");
            let streamed = gateway.chat(&ask_stream(question));
            assert_eq!(streamed.cache(), "exact");
            assert_eq!(streamed.content(), format!("answer to: {question}"));
            assert!(streamed.text().ends_with("data: [DONE]\n\n"));
            assert!(!streamed.text().contains("usage"));
            let options = json!({"include_usage": true});
            let with_usage = gateway.chat(&with(ask_stream(question), "stream_options", options));
            assert_eq!(
                with_usage.events().last().unwrap()["usage"]["prompt_tokens"],
                7
            );
            let id = whole.header("x-ringside-cache-entry").unwrap();
            assert_eq!(streamed.header("x-ringside-cache-entry"), Some(id));
            assert!(whole.header("age").is_some());
        }
        assert_eq!(upstream.count(), 2);
        // A hit costs nothing.
        gateway.wait_for_metric("ringside_cache_lookups_total{outcome=\"exact\"}", 6.0);
        gateway.wait_for_metric("gen_ai_client_token_usage_count{ringside_key=\"\",gen_ai_request_model=\"m\",gen_ai_token_type=\"input\"}", 2.0);
        gateway.wait_for_metric(
            "ringside_cache_tokens_saved_total{gen_ai_request_model=\"m\"}",
            72.0,
        );
    });
}

#[test]
fn a_caller_controls_the_cache_with_headers() {
    on_both_drivers(|driver| {
        let upstream = Upstream::echo();
        let gateway = Setup::new(driver, upstream.config()).start();
        let call = |question: &str, headers: &[(&str, &str)]| {
            gateway.post_with("/v1/chat/completions", headers, &ask(question))
        };
        let not_cached = call("q", &[("cache-control", "only-if-cached")]);
        assert_eq!(
            (not_cached.status, not_cached.error().0.as_str()),
            (504, "not_cached")
        );
        assert_eq!(
            call("q", &[("cache-control", "no-store")]).cache(),
            "bypass"
        );
        assert_eq!(call("q", &[]).cache(), "miss");
        assert_eq!(
            call("q", &[("cache-control", "only-if-cached")]).cache(),
            "exact"
        );
        // no-cache goes upstream and refreshes.
        assert_eq!(
            call("q", &[("cache-control", "no-cache")]).cache(),
            "bypass"
        );
        assert_eq!(upstream.count(), 3);
        assert_eq!(call("q", &[]).cache(), "exact");
        // A caller may request a shorter time to live; a hit does not extend it.
        let time_to_live = Duration::from_secs(1);
        let before_stored = Instant::now();
        let fresh = call("short", &[("x-ringside-cache-ttl", "1s")]);
        assert_eq!(fresh.cache(), "miss");
        let after_stored = Instant::now();
        loop {
            let sent_at = Instant::now();
            let reply = call("short", &[]);
            if reply.cache() != "exact" {
                assert_eq!(reply.cache(), "miss");
                assert!(before_stored.elapsed() >= time_to_live, "expired too early");
                break;
            }
            let late = sent_at.saturating_duration_since(after_stored + time_to_live);
            assert!(late < time_to_live, "hits must not extend it");
            std::thread::sleep(Duration::from_millis(50));
        }
    });
}

#[test]
fn only_complete_text_answers_are_stored() {
    on_both_drivers(|driver| {
        let upstream = Upstream::start(|seen, stream| {
            let mut answer = chat_response("text");
            let status = match seen.question().as_str() {
                "length" => {
                    answer["choices"][0]["finish_reason"] = "length".into();
                    200
                }
                "tools" => {
                    answer["choices"][0]["message"]["tool_calls"] = json!([{"id": "x"}]);
                    200
                }
                "two" => {
                    let one = answer["choices"][0].clone();
                    answer["choices"] = json!([one, one]);
                    200
                }
                "empty" => {
                    answer["choices"][0]["message"]["content"] = "".into();
                    200
                }
                "error in 200" => {
                    answer = json!({"error": {"message": "x"}});
                    200
                }
                "created" => 201,
                "bad request" => 400,
                "large" => {
                    answer["choices"][0]["message"]["content"] = "x".repeat(20_000).into();
                    200
                }
                other => panic!("{other}"),
            };
            write_json(stream, status, &answer)
        });
        let gateway = Setup::new(
            driver,
            upstream.config() + "[cache]\nentry_max = \"16KiB\"\n",
        )
        .start();
        for question in [
            "length",
            "tools",
            "two",
            "empty",
            "error in 200",
            "created",
            "bad request",
            "large",
        ] {
            for _ in 0..2 {
                assert_eq!(gateway.chat(&ask(question)).cache(), "miss", "{question}");
            }
        }
        assert_eq!(gateway.metric("ringside_cache_entries"), 0.0);
        gateway.wait_for_metric("ringside_cache_not_stored_total{reason=\"too-large\"}", 2.0);
    });
}

#[test]
fn memory_is_bounded() {
    let upstream = Upstream::echo();
    let config = upstream.config() + "[cache]\nmemory_max = \"512KiB\"\nentry_max = \"16KiB\"\n";
    let gateway = Setup::new("io_uring", config).start();
    let mut client = gateway.connect();
    for at in 0..600 {
        let question = format!("{at} {}", "x".repeat(3000));
        assert_eq!(
            client
                .post("/v1/chat/completions", &[], &ask(&question))
                .status,
            200
        );
    }
    let (bytes, limit) = (
        gateway.metric("ringside_cache_bytes"),
        gateway.metric("ringside_cache_bytes_limit"),
    );
    assert!(bytes <= limit && bytes > limit / 4.0, "{bytes} of {limit}");
}

#[test]
fn entries_can_be_deleted() {
    on_both_drivers(|driver| {
        let upstream = Upstream::echo();
        let config = format!("{}{}", upstream.config(), model("n", &["up"]));
        let gateway = Setup::new(driver, config).start();
        let of = |model: &str| with(ask("q"), "model", model.into());
        gateway.chat(&of("m"));
        gateway.chat(&of("n"));
        let id = gateway
            .chat(&of("m"))
            .header("x-ringside-cache-entry")
            .unwrap()
            .to_owned();
        assert_eq!(
            gateway
                .admin("DELETE", &format!("/admin/v1/cache/entries/{id}"))
                .status,
            200
        );
        assert_eq!(
            gateway
                .admin("DELETE", &format!("/admin/v1/cache/entries/{id}"))
                .status,
            404
        );
        assert_eq!(
            gateway
                .admin("DELETE", "/admin/v1/cache/entries/nonsense")
                .status,
            400
        );
        assert_eq!(gateway.chat(&of("m")).cache(), "miss");
        assert_eq!(gateway.chat(&of("n")).cache(), "exact");
        assert_eq!(
            gateway.admin("DELETE", "/admin/v1/cache?model=n").json()["removed"],
            1
        );
        assert_eq!(gateway.chat(&of("n")).cache(), "miss");
        assert_eq!(gateway.chat(&of("m")).cache(), "exact");
        assert_eq!(
            gateway.admin("DELETE", "/admin/v1/cache").json()["removed"],
            2
        );
        assert_eq!(gateway.chat(&of("m")).cache(), "miss");
        assert_eq!(
            gateway.admin("DELETE", "/admin/v1/cache?modle=n").status,
            400
        );
    });
}

#[test]
fn the_cache_can_be_off() {
    let upstream = Upstream::echo();
    let gateway = Setup::new("epoll", upstream.config() + "[cache]\nenabled = false\n").start();
    for _ in 0..2 {
        assert_eq!(gateway.chat(&ask("q")).cache(), "bypass");
    }
    assert_eq!(upstream.count(), 2);
}
