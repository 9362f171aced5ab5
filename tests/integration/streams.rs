//! Streams: byte for byte, at once, and never as if complete when they are not.

use crate::harness::*;
use serde_json::json;
use std::io::Write;
use std::sync::mpsc;
use std::time::{Duration, Instant};

#[test]
fn events_are_forwarded_unchanged_and_usage_only_if_requested() {
    on_both_drivers(|driver| {
        let upstream = Upstream::echo();
        let gateway = Setup::new(driver, upstream.config()).start();
        let no_cache = &[("cache-control", "no-store")];
        let mut client = gateway.connect();
        let reply = client.post("/v1/chat/completions", no_cache, &ask_stream("a b c"));
        assert_eq!(reply.header("content-type"), Some("text/event-stream"));
        assert_eq!(reply.content(), "answer to: a b c");
        assert!(!reply.text().contains("usage"), "{}", reply.text());
        assert!(reply.text().ends_with("data: [DONE]\n\n"));
        // The provider was asked for usage all the same.
        assert_eq!(
            upstream.last().json()["stream_options"]["include_usage"],
            true
        );
        let sent = with(
            ask_stream("a b c"),
            "stream_options",
            json!({"include_usage": true}),
        );
        let reply = client.post("/v1/chat/completions", no_cache, &sent);
        let expected: String = "answer to: a b c".split_inclusive(' ').map(delta).collect();
        assert_eq!(reply.text(), expected + &stream_end());
        // Both were accounted.
        gateway.wait_for_metric("gen_ai_client_token_usage_sum{ringside_key=\"\",gen_ai_request_model=\"m\",gen_ai_token_type=\"input\"}", 14.0);
        let line =
            gateway.wait_for_log(|line| line["event"] == "request" && line["stream"] == true);
        assert_eq!(line["input_tokens"], 7);
        assert_eq!(line["output_tokens"], 5);
        assert!(
            !line.to_string().contains("a b c"),
            "no prompt text in the log"
        );
    });
}

#[test]
fn an_event_is_never_held_back() {
    on_both_drivers(|driver| {
        let (go, wait) = mpsc::channel::<()>();
        let wait = std::sync::Mutex::new(wait);
        let upstream = Upstream::start(move |_, stream| {
            let wait = wait.lock().unwrap();
            let mut ok = stream.write_all(stream_head()).is_ok();
            for at in 0..5 {
                ok &= stream.write_all(&chunk(&delta(&format!("w{at} ")))).is_ok();
                wait.recv().unwrap();
            }
            ok &= stream.write_all(&chunk(&stream_end())).is_ok();
            ok && stream.write_all(b"0\r\n\r\n").is_ok()
        });
        let gateway = Setup::new(driver, upstream.config()).start();
        let mut client = gateway.connect();
        client.send(&request(
            "/v1/chat/completions",
            &[],
            ask_stream("x").to_string().as_bytes(),
        ));
        let mut slowest = Duration::ZERO;
        for at in 0..5 {
            let began = Instant::now();
            // Comes although the provider sends nothing more until told.
            client.read_until(&format!("w{at} "));
            slowest = slowest.max(began.elapsed());
            go.send(()).unwrap();
        }
        assert_eq!(client.response().content(), "w0 w1 w2 w3 w4 ");
        eprintln!("{driver}: slowest event {slowest:?}");
    });
}

#[test]
fn a_stream_that_breaks_says_so() {
    on_both_drivers(|driver| {
        // The question says how it breaks.
        let upstream = Upstream::start(|seen, stream| {
            let mut send = |bytes: &[u8]| stream.write_all(bytes).is_ok();
            send(stream_head());
            send(&chunk(&delta("partial ")));
            // The first event is out before anything breaks.
            std::thread::sleep(Duration::from_millis(500));
            match seen.question().as_str() {
                "hang up" => false,
                "end without finish" => send(b"0\r\n\r\n"),
                "bad chunk" => send(b"zz\r\n"),
                "stall" => {
                    std::thread::sleep(Duration::from_secs(4));
                    false
                }
                "error event" => {
                    send(&chunk(
                        "data: {\"error\":{\"message\":\"boom\",\"code\":\"x\"}}\n\n",
                    ));
                    send(b"0\r\n\r\n")
                }
                other => panic!("{other}"),
            }
        });
        let config = format!(
            "{}{}",
            provider("up", &upstream.address.to_string(), "read_timeout = \"2s\""),
            model("m", &["up"])
        );
        let gateway = Setup::new(driver, config).start();
        for (how, code) in [
            ("hang up", "upstream_closed_early"),
            ("end without finish", "upstream_truncated"),
            ("bad chunk", "upstream_closed_early"),
            ("stall", "upstream_closed_early"),
            ("error event", "x"),
        ] {
            let reply = gateway.chat(&ask_stream(how));
            assert_eq!(reply.status, 200);
            let text = reply.text();
            assert!(text.contains("partial "), "{text}");
            assert!(!text.contains("[DONE]"), "{how}: {text}");
            let last = reply.events().pop().unwrap();
            assert_eq!(last["error"]["code"], code, "{how}: {text}");
            // It is not in the cache either.
            let again = gateway.chat(&ask_stream(how));
            assert_eq!(again.cache(), "miss", "{how}");
        }
        gateway.wait_for_metric("ringside_streams_broken_total{side=\"upstream\"}", 8.0);
    });
}

#[test]
fn tool_calls_and_unknown_fields_cross_untouched() {
    on_both_drivers(|driver| {
        let events = "data: {\"choices\":[{\"delta\":{\"tool_calls\":[{\"index\":0,\"id\":\"c1\",\"function\":{\"name\":\"f\",\"arguments\":\"\"}}]}}],\"new_field\":{\"x\":[1.50]}}\r\n\r\n: comment\n\nevent: odd\ndata: {\"choices\":[{\"delta\":{\"tool_calls\":[{\"index\":0,\"function\":{\"arguments\":\"{\\\"usage\\\":null}\"}}]}}]}\n\ndata: {\"choices\":[{\"delta\":{},\"finish_reason\":\"tool_calls\"}]}\n\ndata: [DONE]\n\n";
        let upstream = Upstream::start(move |_, stream| {
            let mut out = stream_head().to_vec();
            out.extend(chunk(events));
            out.extend_from_slice(b"0\r\n\r\n");
            stream.write_all(&out).is_ok()
        });
        let gateway = Setup::new(driver, upstream.config()).start();
        for _ in 0..2 {
            let reply = gateway.chat(&ask_stream("call it"));
            assert_eq!(reply.text(), events);
            assert_eq!(reply.cache(), "miss", "tool calls are not cached");
        }
        gateway.wait_for_metric(
            "ringside_cache_not_stored_total{reason=\"tool-calls\"}",
            2.0,
        );
    });
}
