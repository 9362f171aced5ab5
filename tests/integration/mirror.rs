//! Mirroring: a request that has its response is sent to another target too, and both responses are compared. Whatever
//! that target does, the client's response is the same and as early.

use crate::harness::*;
use crate::local_model::ready;
use serde_json::json;
use std::time::{Duration, Instant};

const NO_CACHE: &str = "[cache]\nenabled = false\n";

/// A model `m` at `served`, with all its requests sent to `other`, too.
fn config(served: &Upstream, other: &Upstream, more: &str) -> String {
    format!(
        "{}{}{}mirror = {{ provider = \"new\", model = \"candidate\", share = 1{more} }}\n\
         [[prices]]\nprovider = \"new\"\nmodel = \"candidate\"\ninput = 1\noutput = 2\n",
        served.provider("up"),
        other.provider("new"),
        model("m", &["up"]),
    )
}

/// Answers with a text of its own, streamed if asked.
fn saying(text: &'static str) -> Upstream {
    Upstream::start(move |seen, stream| {
        if seen.json()["stream"] == true {
            write_stream(stream, text)
        } else {
            write_json(stream, 200, &chat_response(text))
        }
    })
}

/// Takes requests and never answers.
fn hanging() -> Upstream {
    Upstream::start(|_, _| {
        std::thread::sleep(TEST_TIMEOUT);
        false
    })
}

fn outcomes(gateway: &Gateway, outcome: &str) -> f64 {
    gateway.metric(&format!(
        "ringside_mirror_requests_total{{gen_ai_request_model=\"m\",outcome=\"{outcome}\"}}"
    ))
}

fn labels(gateway: &Gateway, label: &str) -> f64 {
    gateway.metric(&format!(
        "ringside_mirror_labels_total{{gen_ai_request_model=\"m\",label=\"{label}\"}}"
    ))
}

fn wait_for(gateway: &Gateway, outcome: &str, count: f64) {
    wait_until(outcome, || outcomes(gateway, outcome) == count);
}

#[test]
fn responses_are_compared_and_the_clients_is_unchanged() {
    on_both_drivers(|driver| {
        for streams in [false, true] {
            for (other, label) in [("paris", "same"), ("Lyon", "other")] {
                let (served, mirror) = (saying("Paris."), saying(other));
                let config = config(&served, &mirror, "") + NO_CACHE;
                let gateway = Setup::new(driver, config).start();
                ready(&gateway);
                let reply = gateway.chat(&with(ask("q"), "stream", streams.into()));
                assert_eq!(reply.content(), "Paris.");
                assert_eq!(reply.header("x-ringside-target"), Some("up/m-at-up"));
                assert_eq!(reply.header("x-ringside-attempts"), Some("1"));
                wait_until(label, || labels(&gateway, label) == 1.0);
                assert_eq!(outcomes(&gateway, "answered"), 1.0);
                assert_eq!((served.count(), mirror.count()), (1, 1));
                assert_eq!(mirror.last().json()["model"], "candidate");
                assert_eq!(mirror.last().question(), "q");
                // 7 tokens at 1 and 5 at 2 dollars a million.
                let cost = "ringside_mirror_cost_nanousd_total{gen_ai_request_model=\"m\",target=\"new/candidate\"}";
                gateway.wait_for_metric(cost, 17_000.0);
                gateway.wait_for_metric("ringside_mirror_tokens{gen_ai_request_model=\"m\"}", 12.0);
                for side in ["served", "mirror"] {
                    let took = format!(
                        "ringside_mirror_duration_seconds_count{{gen_ai_request_model=\"m\",target=\"new/candidate\",side=\"{side}\"}}"
                    );
                    gateway.wait_for_metric(&took, 1.0);
                }
            }
        }
    });
}

#[test]
fn a_mirror_that_hangs_delays_nobody_and_holds_no_more_than_its_permits() {
    on_both_drivers(|driver| {
        let (served, mirror) = (saying("Paris."), hanging());
        let config = config(&served, &mirror, ", tokens_max = 1_000_000") + NO_CACHE;
        let mut gateway = Setup::new(driver, config).start();
        let mut client = gateway.connect();
        let began_at = Instant::now();
        // One connection: a request that waited for its mirror would hold up all that follow.
        for _ in 0..70 {
            let reply = client.post("/v1/chat/completions", &[], &ask("q"));
            assert_eq!((reply.status, reply.content().as_str()), (200, "Paris."));
        }
        // A mirror hangs for 20 s here; waiting for one alone would take as long.
        assert!(began_at.elapsed() < TEST_TIMEOUT);
        assert_eq!(outcomes(&gateway, "busy"), 6.0);
        gateway.wait_for_metric(
            "ringside_mirror_requests_in_flight{gen_ai_request_model=\"m\"}",
            64.0,
        );
        gateway.wait_for_metric("ringside_mirror_requests_in_flight_limit", 64.0);
        assert_eq!(served.count(), 70);
        // A stop does not wait for mirrored requests either.
        let began_at = Instant::now();
        drop(client);
        gateway.signal(nix::sys::signal::Signal::SIGTERM);
        assert!(gateway.wait_for_exit().success());
        assert!(began_at.elapsed() < TEST_TIMEOUT - Duration::from_secs(5));
    });
}

#[test]
fn a_mirror_that_fails_is_counted_and_clients_see_nothing() {
    on_both_drivers(|driver| {
        let served = saying("Paris.");
        let mirror = Upstream::start(|_, stream| write_json(stream, 500, &json!({"error": {}})));
        let config = config(&served, &mirror, "") + NO_CACHE;
        let gateway = Setup::new(driver, config).start();
        assert_eq!(gateway.chat(&ask("q")).content(), "Paris.");
        wait_for(&gateway, "failed", 1.0);
        assert_eq!(gateway.chat(&ask("q")).content(), "Paris.");
        assert_eq!(served.count(), 2);
    });
}

#[test]
fn a_request_that_may_not_repeat_or_names_a_target_is_not_mirrored_and_the_budget_holds() {
    on_both_drivers(|driver| {
        let (served, mirror) = (saying("Paris."), saying("Paris."));
        // Estimated at 5 + 500 tokens each: one fits.
        let config = config(&served, &mirror, ", tokens_max = 600");
        let gateway = Setup::new(driver, config).start();
        let ask_with = |headers: &[(&str, &str)], body: &serde_json::Value| {
            let mut client = gateway.connect();
            let reply = client.post("/v1/chat/completions", headers, body);
            assert_eq!(reply.status, 200);
        };
        ask_with(&[("idempotency-key", "k")], &ask("a"));
        ask_with(&[], &with(ask("b"), "store", true.into()));
        // A request that names its target does not permit another one.
        ask_with(&[("x-ringside-route", "up")], &ask("c"));
        assert_eq!(mirror.count(), 0);
        ask_with(&[], &ask("d"));
        wait_for(&gateway, "answered", 1.0);
        // A cached response is not mirrored.
        assert_eq!(gateway.chat(&ask("d")).cache(), "exact");
        // The budget counts the 12 tokens of the response instead of the 505 that were expected, so another request fits.
        gateway.wait_for_metric("ringside_mirror_tokens{gen_ai_request_model=\"m\"}", 12.0);
        ask_with(&[], &ask("e"));
        wait_for(&gateway, "answered", 2.0);
        ask_with(&[], &with(ask("f"), "max_tokens", 1000.into()));
        assert_eq!(outcomes(&gateway, "over-budget"), 1.0);
        assert_eq!(mirror.count(), 2);
    });
}
