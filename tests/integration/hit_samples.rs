//! Hit samples: semantic hits are compared with fresh responses within a budget, after the client has its response. A
//! wrong hit is undone, and the results are reported. With the real model.

use crate::dialects::Caller::{Anthropic, Gemini, OpenAi};
use crate::dialects::{frame, piece, streams, whole};
use crate::harness::*;
use crate::local_model::ready;
use serde_json::Value;
use std::process::Command;

const ASKED: &str = "Why is the sky blue?";
const OTHER_WORDS: &str = "why's the sky blue";

fn semantic(mode: &str, more: &str) -> String {
    format!("[cache.semantic]\nmode = \"{mode}\"\ndeadline = \"5s\"\n{more}\n")
}

/// Responds differently to other words.
fn fickle() -> Upstream {
    Upstream::start(|seen, stream| {
        let answer = if seen.question() == ASKED {
            "Rayleigh"
        } else {
            "Compton"
        };
        if seen.json()["stream"] == true {
            write_stream(stream, answer)
        } else {
            write_json(stream, 200, &chat_response(answer))
        }
    })
}

/// The same in each dialect.
fn fickle_in(dialect: &'static str) -> Upstream {
    Upstream::start(move |seen, stream| {
        let is_first = seen.message.text().contains(ASKED);
        let answer = if is_first { "Rayleigh" } else { "Compton" };
        if !streams(seen) {
            return write_json(stream, 200, &whole(dialect, answer));
        }
        let (before, after) = frame(dialect);
        let mut out = stream_head().to_vec();
        out.extend_from_slice(&chunk(&(before + &piece(dialect, answer) + &after)));
        out.extend_from_slice(b"0\r\n\r\n");
        std::io::Write::write_all(stream, &out).is_ok()
    })
}

/// Always responds the same.
fn steady() -> Upstream {
    Upstream::start(|_, stream| write_json(stream, 200, &chat_response("Rayleigh")))
}

fn start(driver: &str, upstream: &Upstream, section: &str) -> Gateway {
    let gateway = Setup::new(driver, upstream.config() + section).start();
    ready(&gateway);
    assert_eq!(gateway.chat(&ask(ASKED)).cache(), "miss");
    gateway.wait_for_metric("ringside_cache_vectors", 1.0);
    gateway
}

fn labels(gateway: &Gateway, label: &str) -> f64 {
    gateway.metric(&format!(
        "ringside_cache_labels_total{{gen_ai_request_model=\"m\",label=\"{label}\"}}"
    ))
}

fn wait_for_label(gateway: &Gateway, label: &str, count: f64) {
    wait_until(label, || labels(gateway, label) == count);
}

fn wait_for_samples(gateway: &Gateway, outcome: &str, count: f64) {
    let samples = format!("ringside_cache_samples_total{{outcome=\"{outcome}\"}}");
    gateway.wait_for_metric(&samples, count);
}

fn model(quality: &Value) -> Value {
    quality["models"][0].clone()
}

#[test]
fn a_hit_whose_fresh_answer_differs_is_undone() {
    on_both_drivers(|driver| {
        for streams in [false, true] {
            let upstream = fickle();
            let gateway = start(driver, &upstream, &semantic("serve", "sample = 1"));
            let other = with(ask(OTHER_WORDS), "stream", streams.into());
            let hit = gateway.chat(&other);
            // The client gets the cached response; the comparison follows.
            assert_eq!(
                (hit.cache(), hit.content().as_str()),
                ("semantic", "Rayleigh")
            );
            wait_for_label(&gateway, "wrong", 1.0);
            assert_eq!(upstream.count(), 2);
            assert_eq!(upstream.last().question(), OTHER_WORDS);
            gateway.wait_for_metric("ringside_cache_entries", 0.0);
            gateway.wait_for_metric("ringside_cache_wrong_answers", 1.0);
            wait_for_samples(&gateway, "compared", 1.0);
            // The same two requests again: the mark refuses the hit that was served before.
            assert_eq!(gateway.chat(&ask(ASKED)).cache(), "miss");
            gateway.wait_for_metric("ringside_cache_vectors", 1.0);
            let again = gateway.chat(&ask(OTHER_WORDS));
            let why = again.header("x-ringside-cache-reason");
            assert_eq!((again.cache(), why), ("miss", Some("marked-wrong")));
            assert_eq!(again.content(), "Compton");
            let reported = gateway.admin("GET", "/admin/v1/cache/quality").json();
            let seen = model(&reported);
            assert_eq!(
                (&seen["model"], &seen["wrong"], &seen["right"]),
                (&"m".into(), &1.into(), &0.into())
            );
            assert!(
                seen["wrong_hit_rate"]["high"].as_f64().unwrap() > 0.5,
                "{reported}"
            );
        }
    });
}

#[test]
fn hits_are_compared_in_every_pair_of_dialects() {
    on_both_drivers(|driver| {
        for (caller, dialect, is_stream) in [
            (OpenAi, "anthropic", false),
            (OpenAi, "gemini", true),
            (Anthropic, "anthropic", true),
            (Anthropic, "openai", false),
            (Gemini, "gemini", false),
            (Gemini, "gemini", true),
            (Gemini, "openai", true),
        ] {
            eprintln!("{caller:?} of {dialect}, streamed: {is_stream}");
            let upstream = fickle_in(dialect);
            let said = format!("dialect = \"{dialect}\"");
            let up = provider("up", &upstream.address.to_string(), &said);
            let config =
                up + &crate::harness::model("m", &["up"]) + &semantic("serve", "sample = 1");
            let gateway = Setup::new(driver, config).start();
            ready(&gateway);
            let ask = |question: &str| {
                gateway.post(caller.path(is_stream), &caller.body(question, is_stream))
            };
            assert_eq!(ask(ASKED).cache(), "miss");
            gateway.wait_for_metric("ringside_cache_vectors", 1.0);
            let hit = ask(OTHER_WORDS);
            assert_eq!((hit.cache(), &*caller.text(&hit)), ("semantic", "Rayleigh"));
            wait_for_label(&gateway, "wrong", 1.0);
            assert_eq!(upstream.count(), 2);
            let sent = upstream.last();
            assert!(sent.message.text().contains(OTHER_WORDS));
            assert_eq!(streams(&sent), is_stream);
            wait_for_samples(&gateway, "compared", 1.0);
            gateway.wait_for_metric("ringside_cache_entries", 0.0);
            // The sample's tokens count against the budget, read from the provider's dialect.
            gateway.wait_for_metric("ringside_cache_sample_tokens", 12.0);
        }
    });
}

#[test]
fn a_confirmed_hit_stays_and_samples_stay_within_their_budget() {
    on_both_drivers(|driver| {
        let upstream = steady();
        // A response uses 12 tokens: two samples fit, a third does not.
        let more = "sample = 1\nsample_tokens_max = 30";
        let gateway = start(driver, &upstream, &semantic("serve", more));
        for at in 1..=5_u32 {
            assert_eq!(gateway.chat(&ask(OTHER_WORDS)).cache(), "semantic");
            // One after the other, so that each sample is counted before the next is drawn.
            let compared = f64::from(at.min(2));
            wait_for_label(&gateway, "right", compared);
            wait_for_samples(&gateway, "compared", compared);
        }
        wait_for_samples(&gateway, "over-budget", 3.0);
        assert_eq!(upstream.count(), 3);
        gateway.wait_for_metric("ringside_cache_sample_tokens", 24.0);
        gateway.wait_for_metric("ringside_cache_sample_tokens_limit", 30.0);
        // The usage of samples is recorded like that of any other call.
        gateway.wait_for_metric("gen_ai_client_token_usage_count{ringside_key=\"\",gen_ai_request_model=\"m\",gen_ai_token_type=\"input\"}", 3.0);
        assert_eq!(gateway.metric("ringside_cache_wrong_answers"), 0.0);
    });
}

#[test]
fn without_sampling_nothing_is_sent_and_a_failed_sample_changes_nothing() {
    let upstream = steady();
    let gateway = start("io_uring", &upstream, &semantic("serve", "sample = 0"));
    for _ in 0..5 {
        assert_eq!(gateway.chat(&ask(OTHER_WORDS)).cache(), "semantic");
    }
    assert_eq!(upstream.count(), 1);
    // A request with an effect beyond its response is not repeated.
    let gateway = start("epoll", &upstream, &semantic("serve", "sample = 1"));
    let before = upstream.count();
    let stored = gateway.chat(&with(ask(OTHER_WORDS), "store", true.into()));
    let keyed = gateway.post_with(
        "/v1/chat/completions",
        &[("idempotency-key", "k")],
        &ask(OTHER_WORDS),
    );
    assert_eq!((stored.cache(), keyed.cache()), ("semantic", "semantic"));
    assert_eq!(gateway.chat(&ask(OTHER_WORDS)).cache(), "semantic");
    wait_for_label(&gateway, "right", 1.0);
    assert_eq!(upstream.count(), before + 1);
    let broken = Upstream::start(|seen, stream| {
        let status = if seen.question() == ASKED { 200 } else { 500 };
        write_json(stream, status, &chat_response("Rayleigh"))
    });
    let gateway = start("epoll", &broken, &semantic("serve", "sample = 1"));
    let hit = gateway.chat(&ask(OTHER_WORDS));
    assert_eq!((hit.status, hit.cache()), (200, "semantic"));
    wait_for_samples(&gateway, "failed", 1.0);
    gateway.wait_for_metric("ringside_cache_entries", 1.0);
    assert_eq!(labels(&gateway, "wrong"), 0.0);
}

#[test]
fn observing_compares_every_possible_hit_and_serves_none() {
    on_both_drivers(|driver| {
        let upstream = fickle();
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("observations.jsonl");
        let more = format!("log = {:?}", log.to_str().unwrap());
        let gateway = start(driver, &upstream, &semantic("observe", &more));
        let other = gateway.chat(&ask(OTHER_WORDS));
        assert_eq!(
            (other.cache(), other.content().as_str()),
            ("miss", "Compton")
        );
        wait_for_label(&gateway, "wrong", 1.0);
        // Only the calls of clients: the comparison needs no further one.
        assert_eq!(upstream.count(), 2);
        let reported = gateway.admin("GET", "/admin/v1/cache/quality").json();
        assert_eq!(reported["mode"], "observe");
        assert_eq!(model(&reported)["tokens"], 12);
        wait_until("the log is written", || {
            std::fs::read_to_string(&log).is_ok_and(|text| !text.is_empty())
        });
        let text = std::fs::read_to_string(&log).unwrap();
        let line: Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
        assert_eq!(
            (&line["a"], &line["b"], &line["label"]),
            (&ASKED.into(), &OTHER_WORDS.into(), &"wrong".into())
        );
        // `ringside tune` reads this log.
        let tune = Command::new(env!("CARGO_BIN_EXE_ringside"))
            .args(["tune", "--log", log.to_str().unwrap()])
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .output()
            .unwrap();
        let text = String::from_utf8(tune.stdout).unwrap();
        assert!(text.contains("0 ask the same"), "{text}");
    });
}
