//! What a request cost: exact where tokens and price are known, else marked as an estimate or unknown.

use crate::harness::*;
use serde_json::{Value, json};

/// Two providers with a price each for what they serve as `m`, and one model `free` without.
fn config(upstream: &Upstream) -> String {
    format!(
        "{}{}{}[[prices]]\nprovider = \"up\"\nmodel = \"m-at-up\"\ninput = 2.5\ncached_input = 1.25\noutput = 10\n",
        upstream.provider("up"),
        model("m", &["up"]),
        model("free", &["up"]),
    )
}

fn record(gateway: &Gateway, reply: &Response) -> Value {
    let id = reply.header("x-request-id").unwrap().to_owned();
    gateway.wait_for_log(|line| line["event"] == "request" && line["request_id"] == id.as_str())
}

#[test]
fn a_cost_is_in_header_log_and_metric_and_a_hit_saves_it() {
    on_both_drivers(|driver| {
        let upstream = Upstream::start(|_, stream| {
            let mut answer = chat_response("four");
            answer["usage"] = json!({"prompt_tokens": 1000, "completion_tokens": 50,
                "prompt_tokens_details": {"cached_tokens": 400},
                "completion_tokens_details": {"reasoning_tokens": 30}});
            write_json(stream, 200, &answer)
        });
        let gateway = Setup::new(driver, config(&upstream)).start();
        let first = gateway.chat(&ask("2+2?"));
        // 600 × 2.5 + 400 × 1.25 + 50 × 10 dollars per million tokens.
        let cost = 1_500_000 + 500_000 + 500_000;
        assert_eq!(
            first.header("x-ringside-cost-nanousd"),
            Some(cost.to_string().as_str())
        );
        let line = record(&gateway, &first);
        assert_eq!(line["cost_nanousd"], cost);
        assert_eq!(line["cost_estimated"], false);
        assert_eq!(line["saved_nanousd"], Value::Null);
        assert_eq!(line["reasoning_tokens"], 30);
        let hit = gateway.chat(&ask("2+2?"));
        assert_eq!(hit.cache(), "exact");
        assert_eq!(hit.header("x-ringside-cost-nanousd"), Some("0"));
        assert_eq!(record(&gateway, &hit)["saved_nanousd"], cost);
        let part = |part: &str| {
            gateway.metric(&format!(
                "ringside_cost_nanousd_total{{ringside_key=\"\",gen_ai_request_model=\"m\",gen_ai_token_type=\"{part}\"}}"
            ))
        };
        assert_eq!(
            [part("input"), part("cached_input"), part("output")],
            [1_500_000.0, 500_000.0, 500_000.0]
        );
        let saved = "ringside_cost_saved_nanousd_total{gen_ai_request_model=\"m\"}";
        assert_eq!(gateway.metric(saved), f64::from(cost));
    });
}

#[test]
fn without_a_price_the_cost_is_unknown_and_that_is_reported_once() {
    on_both_drivers(|driver| {
        let upstream = Upstream::echo();
        let gateway = Setup::new(driver, config(&upstream)).start();
        for question in ["a", "b", "c"] {
            let body = with(ask(question), "model", "free".into());
            let reply = gateway.chat(&body);
            assert_eq!(reply.status, 200);
            assert_eq!(reply.header("x-ringside-cost-nanousd"), None);
            assert_eq!(record(&gateway, &reply)["cost_nanousd"], Value::Null);
        }
        let unknown =
            "ringside_cost_unknown_total{gen_ai_request_model=\"free\",missing=\"price\"}";
        gateway.wait_for_metric(unknown, 3.0);
        let reported = gateway.log_lines();
        let reported = reported
            .iter()
            .filter(|line| line.contains("price_unknown"));
        assert_eq!(reported.count(), 1);
        let page = gateway.admin("GET", "/metrics").text();
        let spent = "ringside_cost_nanousd_total{ringside_key=\"\",gen_ai_request_model=\"free\"";
        assert!(!page.contains(spent), "{page}");
    });
}

#[test]
fn a_stream_costs_what_it_reports_and_a_broken_one_is_an_estimate() {
    on_both_drivers(|driver| {
        let upstream = Upstream::start(|seen, stream| {
            use std::io::Write;
            if seen.question() != "break" {
                return write_stream(stream, "some words");
            }
            let mut out = stream_head().to_vec();
            for _ in 0..10 {
                out.extend_from_slice(&chunk(&delta("word")));
            }
            let _ = stream.write_all(&out);
            false
        });
        let gateway = Setup::new(driver, config(&upstream)).start();
        let whole = gateway.chat(&ask_stream("go"));
        let line = record(&gateway, &whole);
        assert_eq!(line["cost_nanousd"], 7 * 2500 + 5 * 10_000);
        assert_eq!(line["cost_estimated"], false);
        let broken = gateway.chat(&ask_stream("break"));
        let line = record(&gateway, &broken);
        assert_eq!(line["cost_estimated"], true);
        assert_eq!(line["output_tokens"], Value::Null);
        // "break" is two tokens, a message four; ten events are ten.
        assert_eq!(line["cost_nanousd"], 6 * 2500 + 10 * 10_000);
        let estimated = "ringside_cost_estimated_nanousd_total{gen_ai_request_model=\"m\"}";
        assert_eq!(gateway.metric(estimated), f64::from(6 * 2500 + 10 * 10_000));
        let missing = "ringside_usage_missing_total{gen_ai_request_model=\"m\"}";
        gateway.wait_for_metric(missing, 1.0);
    });
}
