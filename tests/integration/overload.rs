//! Targets at their concurrency limit: the limit holds, targets with a free permit are used first, further requests wait
//! in order, and a request that cannot wait gets an error. Permits are released however a request ends.

use crate::harness::*;
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use std::net::TcpStream;
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;

const ONE_CORE: &str = "cores = 1\n";
const LENGTH: &str = "ringside_admission_queue{gen_ai_request_model=\"m\"}";

/// A target whose responses the test releases one by one.
struct Gate {
    upstream: Upstream,
    state: Arc<(Mutex<State>, Condvar)>,
}

#[derive(Default)]
struct State {
    /// Responses that may be sent.
    open: usize,
    /// Requests in flight, and most at once.
    in_flight: usize,
    peak: usize,
}

fn gate() -> Gate {
    let state: Arc<(Mutex<State>, Condvar)> = Arc::default();
    let shared = Arc::clone(&state);
    let upstream = Upstream::start(move |seen, stream| {
        let streams = seen.json()["stream"] == true;
        if streams {
            use std::io::Write;
            let mut begin = stream_head().to_vec();
            begin.extend_from_slice(&chunk(&delta(&seen.question())));
            stream.write_all(&begin).unwrap();
        }
        let (lock, opened) = &*shared;
        let mut state = lock.lock().unwrap();
        state.in_flight += 1;
        state.peak = state.peak.max(state.in_flight);
        let waited = opened.wait_timeout_while(state, TEST_TIMEOUT, |state| state.open == 0);
        state = waited.unwrap().0;
        state.open = state.open.saturating_sub(1);
        state.in_flight -= 1;
        drop(state);
        if streams {
            end_stream(stream)
        } else {
            write_json(stream, 200, &chat_response(&seen.question()))
        }
    });
    Gate { upstream, state }
}

fn end_stream(stream: &mut TcpStream) -> bool {
    use std::io::Write;
    let mut end = chunk(&stream_end());
    end.extend_from_slice(b"0\r\n\r\n");
    stream.write_all(&end).is_ok()
}

impl Gate {
    fn open(&self, count: usize) {
        self.state.0.lock().unwrap().open += count;
        self.state.1.notify_all();
    }

    fn wait_for_requests(&self, count: usize) {
        wait_until("the target has the requests", || {
            self.upstream.count() == count
        });
    }

    fn peak(&self) -> usize {
        self.state.0.lock().unwrap().peak
    }

    fn questions(&self) -> Vec<String> {
        let seen = self.upstream.seen.lock().unwrap();
        seen.iter().map(Seen::question).collect()
    }
}

/// One target with a fixed limit.
fn config(gate: &Gate, limit: usize, more: &str) -> String {
    format!(
        "{}{}{}[cache]\nenabled = false\n",
        gate.upstream.provider("a"),
        model("m", &["a"]),
        admission(limit, more),
    )
}

fn admission(limit: usize, more: &str) -> String {
    format!(
        "admission = {{ enabled = true, concurrency_min = {limit}, concurrency_max = {limit}{more} }}\n"
    )
}

fn start(driver: &str, config: String) -> Gateway {
    Setup::new(driver, config).server(ONE_CORE).start()
}

/// Sends a request on its own connection; a thread reads the response.
fn send_request(gateway: &Gateway, body: Value, headers: &[(&str, &str)]) -> JoinHandle<Response> {
    let mut client = gateway.connect();
    client.send(&request(
        "/v1/chat/completions",
        headers,
        body.to_string().as_bytes(),
    ));
    std::thread::spawn(move || client.response())
}

fn assert_nothing_is_left(gateway: &Gateway) {
    gateway.wait_for_metric("ringside_target_in_flight{target=\"a/m-at-a\"}", 0.0);
    assert_eq!(gateway.metric(LENGTH), 0.0);
}

fn shed(gateway: &Gateway, reason: &str) -> f64 {
    gateway.metric(&format!(
        "ringside_admission_shed_total{{gen_ai_request_model=\"m\",reason=\"{reason}\"}}"
    ))
}

#[test]
fn the_limit_holds_and_further_requests_wait_in_order() {
    on_both_drivers(|driver| {
        for ask in [ask, ask_stream] {
            let gate = gate();
            let gateway = start(driver, config(&gate, 2, ""));
            let mut sent = Vec::new();
            for nth in 0..6_u32 {
                sent.push(send_request(&gateway, ask(&nth.to_string()), &[]));
                if nth < 2 {
                    gate.wait_for_requests(nth as usize + 1);
                } else {
                    gateway.wait_for_metric(LENGTH, f64::from(nth - 1));
                }
            }
            let limit = gateway.metric("ringside_target_limit{target=\"a/m-at-a\"}");
            let max = "ringside_admission_queue_max{gen_ai_request_model=\"m\"}";
            assert_eq!((limit, gateway.metric(max)), (2.0, 256.0));
            gate.open(6);
            for response in sent {
                let reply = response.join().unwrap();
                assert_eq!(reply.status, 200, "{reply:?}");
            }
            assert_eq!(gate.peak(), 2);
            // The two permits may be taken in either order.
            let questions = gate.questions();
            assert_eq!(questions[..2], ["0", "1"]);
            assert_eq!(questions.len(), 6);
            let waits = "ringside_admission_wait_seconds_count{gen_ai_request_model=\"m\"}";
            gateway.wait_for_metric(waits, 4.0);
            let line = gateway.wait_for_log(|line| line["queued_us"].as_u64() > Some(0));
            assert!(
                line["overhead_us"].as_u64() < line["queued_us"].as_u64(),
                "{line}"
            );
            assert_nothing_is_left(&gateway);
        }
    });
}

#[test]
fn the_key_of_the_highest_priority_goes_first() {
    on_both_drivers(|driver| {
        let gate = gate();
        let mut config = config(&gate, 1, "");
        let folder = tempfile::tempdir().unwrap();
        for name in ["low", "normal", "high"] {
            std::fs::write(folder.path().join(name), name).unwrap();
            config.push_str(&format!(
                "[[keys]]\nname = \"{name}\"\nsecret = \"file:{name}\"\npriority = \"{name}\"\n"
            ));
        }
        let setup = Setup::new(driver, config).server(ONE_CORE);
        let gateway = setup.start_in(folder);
        let mut sent = Vec::new();
        let arrivals = ["low", "low", "normal", "high", "high"];
        for (nth, key) in arrivals.iter().enumerate() {
            let bearer = format!("Bearer {key}");
            let question = format!("{key} {nth}");
            sent.push(send_request(
                &gateway,
                ask(&question),
                &[("authorization", &bearer)],
            ));
            match nth {
                0 => gate.wait_for_requests(1),
                waiting => gateway.wait_for_metric(LENGTH, waiting as f64),
            }
        }
        for nth in 0..arrivals.len() {
            gate.wait_for_requests(nth + 1);
            gate.open(1);
        }
        for response in sent {
            assert_eq!(response.join().unwrap().status, 200);
        }
        let expected = ["low 0", "high 3", "high 4", "normal 2", "low 1"];
        assert_eq!(gate.questions(), expected);
        assert_nothing_is_left(&gateway);
    });
}

#[test]
fn a_request_that_cannot_wait_gets_an_error_in_its_dialect() {
    on_both_drivers(|driver| {
        let gate = gate();
        let more = ", queue_max = 1, queue_deadline = \"1500ms\"";
        let gateway = start(driver, config(&gate, 1, more));
        let served = send_request(&gateway, ask("served"), &[]);
        gate.wait_for_requests(1);
        let late = send_request(&gateway, ask_stream("late"), &[]);
        gateway.wait_for_metric(LENGTH, 1.0);
        // The queue is full, in both dialects.
        let refused = gateway.chat(&ask("refused"));
        assert_eq!(refused.status, 503, "{refused:?}");
        assert_eq!(refused.error().0, "overloaded");
        assert_eq!(refused.header("retry-after"), Some("1"));
        assert_eq!(refused.header("x-should-retry"), Some("true"));
        assert_eq!(refused.header("x-ringside-attempts"), Some("0"));
        let mut message = ask("refused");
        message["max_tokens"] = 5.into();
        // Its time in the queue ends.
        let late = late.join().unwrap();
        assert_eq!(late.status, 503, "{late:?}");
        assert_eq!(late.error().0, "overloaded");
        assert!(late.header("retry-after").is_some());
        assert!(shed(&gateway, "queue_full") >= 1.0);
        assert_eq!(shed(&gateway, "queue_deadline"), 1.0);
        let late = gateway.post("/v1/messages", &message);
        assert_eq!((late.status, &late.json()["type"]), (503, &json!("error")));
        // The request's own deadline comes first where it is shorter.
        let deadline = [("x-ringside-deadline-ms", "20")];
        let reply = send_request(&gateway, ask("own"), &deadline)
            .join()
            .unwrap();
        assert_eq!(
            (reply.status, &*reply.error().0),
            (504, "deadline_exceeded")
        );
        assert_eq!(shed(&gateway, "deadline"), 1.0);
        gate.open(1);
        assert_eq!(served.join().unwrap().status, 200);
        assert_eq!(gate.questions(), ["served"]);
        assert_nothing_is_left(&gateway);
    });
}

#[test]
fn a_hang_up_frees_the_queue_slot_and_the_permit() {
    on_both_drivers(|driver| {
        let gate = gate();
        let gateway = start(driver, config(&gate, 1, ", queue_max = 1"));
        let mut first = gateway.connect();
        first.send(&request(
            "/v1/chat/completions",
            &[],
            ask_stream("first").to_string().as_bytes(),
        ));
        first.read_until("data: ");
        let mut gone = gateway.connect();
        gone.send(&request(
            "/v1/chat/completions",
            &[],
            ask("gone").to_string().as_bytes(),
        ));
        gateway.wait_for_metric(LENGTH, 1.0);
        drop(gone);
        gateway.wait_for_metric(LENGTH, 0.0);
        assert_eq!(shed(&gateway, "client_disconnected"), 1.0);
        gateway.wait_for_log(|line| {
            line["error_code"] == "client_disconnected" && line["attempts"] == 0
        });
        // The queue slot is free again, and so is the permit once the first client hangs up.
        let next = send_request(&gateway, ask("next"), &[]);
        gateway.wait_for_metric(LENGTH, 1.0);
        drop(first);
        gate.wait_for_requests(2);
        gate.open(2);
        assert_eq!(next.join().unwrap().content(), "next");
        assert_eq!(gate.questions(), ["first", "next"]);
        assert_nothing_is_left(&gateway);
    });
}

#[test]
fn a_target_with_a_free_permit_is_used_before_anything_waits() {
    on_both_drivers(|driver| {
        let (first, second) = (gate(), gate());
        let config = format!(
            "{}{}{}{}[cache]\nenabled = false\n",
            first.upstream.provider("a"),
            second.upstream.provider("b"),
            model("m", &["a", "b"]),
            admission(1, ""),
        );
        let gateway = start(driver, config);
        let at_first = send_request(&gateway, ask("1"), &[]);
        first.wait_for_requests(1);
        let at_second = send_request(&gateway, ask("2"), &[]);
        second.wait_for_requests(1);
        let mut admin = Client::connect(&gateway.admin);
        let reported = admin.post("/admin/v1/explain", &[], &ask("?")).json();
        let core = &reported["cores"][0]["models"][0];
        let availability = |at: usize| core["candidates"][at]["availability"].clone();
        assert_eq!(
            (availability(0), availability(1)),
            ("full".into(), "full".into()),
            "{reported}"
        );
        assert_eq!(core["candidates"][0]["limit"], 1, "{reported}");
        assert_eq!(core["waits"], true, "{reported}");
        let waits = send_request(&gateway, ask("3"), &[]);
        gateway.wait_for_metric(LENGTH, 1.0);
        // The request takes the first permit that is released.
        second.open(1);
        assert_eq!(
            at_second.join().unwrap().header("x-ringside-target"),
            Some("b/m-at-b")
        );
        second.wait_for_requests(2);
        second.open(1);
        assert_eq!(
            waits.join().unwrap().header("x-ringside-target"),
            Some("b/m-at-b")
        );
        first.open(1);
        assert_eq!(at_first.join().unwrap().status, 200);
        let is_second = |line: &Value| line["event"] == "request" && line["target"] == "b/m-at-b";
        let line = gateway.wait_for_log(is_second);
        assert_eq!(line["route"]["excluded"]["a/m-at-a"], "full", "{line}");
        assert_eq!(line["attempts"], 1, "{line}");
        assert_nothing_is_left(&gateway);
    });
}

#[test]
fn after_a_failure_the_request_waits_for_the_busy_target() {
    on_both_drivers(|driver| {
        let busy = gate();
        let failing = Upstream::start(|_, stream| write_json(stream, 500, &json!({"error": {}})));
        let config = format!(
            "{}{}{}{}[cache]\nenabled = false\n",
            busy.upstream.provider("a"),
            failing.provider("b"),
            model("m", &["a", "b"]),
            admission(1, ", queue_deadline = \"3s\""),
        );
        let gateway = start(driver, config);
        let served = send_request(&gateway, ask("1"), &[]);
        busy.wait_for_requests(1);
        let waits = send_request(&gateway, ask("2"), &[]);
        gateway.wait_for_metric(LENGTH, 1.0);
        assert_eq!(failing.count(), 1);
        busy.open(2);
        let reply = waits.join().unwrap();
        assert_eq!(
            (reply.status, reply.content()),
            (200, "2".into()),
            "{reply:?}"
        );
        assert_eq!(reply.header("x-ringside-attempts"), Some("2"));
        assert_eq!(served.join().unwrap().status, 200);
        assert_eq!(failing.count(), 1);
        // If no permit is released in time, the client gets the error of the failing target.
        let busy_again = send_request(&gateway, ask("3"), &[]);
        busy.wait_for_requests(3);
        let reply = gateway.chat(&ask("4"));
        assert_eq!(reply.status, 500, "{reply:?}");
        busy.open(1);
        assert_eq!(busy_again.join().unwrap().status, 200);
        assert_nothing_is_left(&gateway);
    });
}

#[test]
fn a_late_request_is_not_hedged_to_a_full_target() {
    on_both_drivers(|driver| {
        let (first, second) = (gate(), gate());
        let config = format!(
            "{}{}{}hedge = {{ enabled = true, extra_tokens_share_max = 0.5 }}\n{}{}{}[cache]\nenabled = false\n",
            first.upstream.provider("a"),
            second.upstream.provider("b"),
            model("m", &["a", "b"]),
            admission(1, ""),
            // The second target is that of another model, too.
            model("m-at-b", &["b"]).replace("m-at-b-at-b", "m-at-b"),
            admission(1, ""),
        );
        let gateway = start(driver, config);
        // Full from the beginning; otherwise a slow request of the measurements could be hedged to it.
        let other = send_request(&gateway, with(ask("other"), "model", "m-at-b".into()), &[]);
        second.wait_for_requests(1);
        first.open(100);
        let mut client = gateway.connect();
        for _ in 0..100 {
            assert_eq!(
                client.post("/v1/chat/completions", &[], &ask("x")).status,
                200
            );
        }
        let late = send_request(&gateway, ask("late"), &[]);
        first.wait_for_requests(101);
        // Long after the measured latency of the target.
        std::thread::sleep(std::time::Duration::from_secs(1));
        first.open(1);
        let reply = late.join().unwrap();
        assert_eq!(reply.header("x-ringside-hedged"), None, "{reply:?}");
        assert_eq!(reply.header("x-ringside-target"), Some("a/m-at-a"));
        second.open(1);
        assert_eq!(other.join().unwrap().status, 200);
        assert_eq!(second.upstream.count(), 1);
        assert_nothing_is_left(&gateway);
    });
}

#[test]
fn a_drain_serves_the_queue_until_its_deadline() {
    on_both_drivers(|driver| {
        let gate = gate();
        let drain = "cores = 1\n[server.drain]\ndelay = \"1ms\"\ndeadline = \"2s\"\n";
        let mut gateway = Setup::new(driver, config(&gate, 1, ""))
            .server(drain)
            .start();
        let served = send_request(&gateway, ask("1"), &[]);
        gate.wait_for_requests(1);
        let moves = send_request(&gateway, ask("2"), &[]);
        gateway.wait_for_metric(LENGTH, 1.0);
        let stays = send_request(&gateway, ask("3"), &[]);
        gateway.wait_for_metric(LENGTH, 2.0);
        gateway.signal(Signal::SIGTERM);
        gate.open(1);
        assert_eq!(served.join().unwrap().status, 200);
        gate.wait_for_requests(2);
        let stopped = stays.join().unwrap();
        assert_eq!(
            (stopped.status, &*stopped.error().0),
            (503, "shutting_down")
        );
        assert_eq!(moves.join().unwrap().status, 503);
        assert!(gateway.wait_for_exit().success());
        assert_eq!(gate.questions(), ["1", "2"]);
    });
}

#[test]
fn a_target_that_reports_overload_gets_half_the_limit() {
    on_both_drivers(|driver| {
        let upstream = Upstream::start(|_, stream| write_json(stream, 503, &json!({"error": {}})));
        let config = format!(
            "{}{}admission = {{ enabled = true }}\n[cache]\nenabled = false\n",
            upstream.provider("a"),
            model("m", &["a"]),
        );
        let gateway = start(driver, config);
        assert_eq!(gateway.chat(&ask("1")).status, 503);
        gateway.wait_for_metric("ringside_target_limit{target=\"a/m-at-a\"}", 2.0);
        assert_nothing_is_left(&gateway);
    });
}
