//! Cancellation: a client that hangs up ends its upstream call; nothing leaks; no byte is lost.

use crate::harness::*;
use std::io::Write;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Streams an event every 5 ms, until the peer is gone; says it is `slow` first if asked so.
fn endless() -> Upstream {
    Upstream::start(|seen, stream| {
        if seen.question().contains("silent") {
            // Never answers; notices the hang-up by reading.
            let mut byte = [0];
            return std::io::Read::read(stream, &mut byte).unwrap_or(0) > 0;
        }
        let mut ok = stream.write_all(stream_head()).is_ok();
        while ok {
            ok = stream.write_all(&chunk(&delta("word "))).is_ok();
            std::thread::sleep(Duration::from_millis(5));
        }
        false
    })
}

#[test]
fn a_hang_up_ends_the_upstream_call_and_nothing_leaks() {
    on_both_drivers(|driver| {
        let upstream = endless();
        let gateway = Setup::new(driver, upstream.config()).start();
        gateway.metric("ringside_cores");
        let before = gateway.open_files();
        for round in 0..150 {
            let question = if round % 2 == 0 { "endless" } else { "silent" };
            let body = ask_stream(&format!("{question} {round}")).to_string();
            let mut client = gateway.connect();
            client.send(&request("/v1/chat/completions", &[], body.as_bytes()));
            if question == "endless" {
                client.read_until("word");
            } else {
                wait_until("the request is upstream", || upstream.count() > round);
            }
            drop(client);
        }
        wait_until("every upstream call has ended", || {
            upstream.closed.load(Ordering::SeqCst) == 150
        });
        wait_until("no descriptor is left", || gateway.open_files() <= before);
        gateway.wait_for_metric("ringside_connections_open", 0.0);
        assert_eq!(gateway.metric("ringside_panics_total"), 0.0);
        gateway.wait_for_metric("ringside_streams_broken_total{side=\"client\"}", 75.0);
        // Its usage is unknown, not zero.
        gateway.wait_for_metric(
            "ringside_usage_missing_total{gen_ai_request_model=\"m\"}",
            75.0,
        );
    });
}

#[test]
fn a_client_that_does_not_read_is_cut_off_and_its_upstream_call_too() {
    on_both_drivers(|driver| {
        let upstream = Upstream::start(|_, stream| {
            let mut ok = stream.write_all(stream_head()).is_ok();
            let event = chunk(&delta(&"x".repeat(50_000)));
            while ok {
                ok = stream.write_all(&event).is_ok();
            }
            false
        });
        let gateway = Setup::new(driver, upstream.config())
            .server("write_timeout = \"300ms\"\n")
            .start();
        let mut client = gateway.connect();
        client.send(&request(
            "/v1/chat/completions",
            &[],
            ask_stream("flood").to_string().as_bytes(),
        ));
        wait_until("the upstream call has ended", || {
            upstream.closed.load(Ordering::SeqCst) == 1
        });
        gateway.wait_for_metric("ringside_connections_open", 0.0);
    });
}

#[test]
fn no_byte_is_lost_when_requests_come_while_one_is_served() {
    on_both_drivers(|driver| {
        let upstream = Upstream::start(|seen, stream| {
            std::thread::sleep(Duration::from_millis(10));
            write_json(stream, 200, &chat_response(&seen.question()))
        });
        let gateway = Setup::new(driver, upstream.config()).start();
        let mut client = gateway.connect();
        // Each next request arrives in pieces while the one before waits upstream.
        let all: Vec<Vec<u8>> = (0..30)
            .map(|at| {
                request(
                    "/v1/chat/completions",
                    &[],
                    ask(&format!("n{at} {}", "y".repeat(at * 300)))
                        .to_string()
                        .as_bytes(),
                )
            })
            .collect();
        client.send(&all[0]);
        for at in 0..30 {
            if let Some(next) = all.get(at + 1) {
                let (a, b) = next.split_at(next.len() / 2);
                client.send(a);
                std::thread::sleep(Duration::from_millis(2));
                client.send(b);
            }
            assert!(client.response().content().starts_with(&format!("n{at} ")));
        }
    });
}

#[test]
fn a_deadline_that_passes_loses_no_later_request() {
    on_both_drivers(|driver| {
        let upstream = Upstream::start(|seen, stream| {
            if seen.question().starts_with("slow") {
                std::thread::sleep(Duration::from_millis(250));
            }
            write_json(stream, 200, &chat_response(&seen.question()))
        });
        let config = format!(
            "{}{}",
            provider(
                "up",
                &upstream.address.to_string(),
                "first_byte_timeout = \"100ms\""
            ),
            model("m", &["up"])
        );
        let gateway = Setup::new(driver, config).start();
        let mut client = gateway.connect();
        for at in 0..10 {
            let slow = client.post("/v1/chat/completions", &[], &ask(&format!("slow {at}")));
            assert_eq!(slow.status, 504);
            // The late answer to the slow one must never be this one's.
            let quick = client.post("/v1/chat/completions", &[], &ask(&format!("quick {at}")));
            assert_eq!(quick.content(), format!("quick {at}"));
        }
    });
}
