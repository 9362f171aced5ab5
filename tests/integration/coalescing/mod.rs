//! Coalescing: identical requests in flight share one upstream call on any core, no client waits for another, requests
//! that differ share nothing, and nothing leaks.

mod clients;
mod failures;
mod scope;

use crate::harness::*;
use serde_json::{Value, json};
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

const PATH: &str = "/v1/chat/completions";
const FOLLOWERS: &str = "ringside_coalesced_requests_total";
const HANDOVERS: &str = "ringside_coalesce_handovers_total";
const SAVED: &str = "ringside_cache_tokens_saved_total{gen_ai_request_model=\"m\"}";
const BILLED: &str = "gen_ai_client_token_usage_count{ringside_key=\"\",gen_ai_request_model=\"m\",gen_ai_token_type=\"input\"}";

/// Holds an upstream back until the test opens it.
#[derive(Clone, Default)]
struct Gate(Arc<AtomicBool>);

impl Gate {
    fn open(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    fn wait(&self) {
        wait_until("the gate is open", || self.0.load(Ordering::SeqCst));
    }
}

/// Responds when the gate is open; the first event of a stream is sent before.
fn gated(gate: &Gate) -> Upstream {
    let gate = gate.clone();
    Upstream::start(move |seen, stream| {
        if seen.json()["stream"] != true {
            gate.wait();
            return write_json(stream, 200, &chat_response("the whole answer"));
        }
        let mut first = stream_head().to_vec();
        first.extend_from_slice(&chunk(&delta("first ")));
        let mut rest = chunk(&delta("second "));
        rest.extend_from_slice(&chunk(&stream_end()));
        rest.extend_from_slice(b"0\r\n\r\n");
        stream.write_all(&first).unwrap();
        gate.wait();
        stream.write_all(&rest).is_ok()
    })
}

fn start(driver: &str, config: String) -> Gateway {
    Setup::new(driver, config).server("cores = 2\n").start()
}

fn send(gateway: &Gateway, headers: &[(&str, &str)], body: &Value) -> Client {
    let mut client = gateway.connect();
    client.send(&request(PATH, headers, body.to_string().as_bytes()));
    client
}

/// The leader: its request is upstream when this returns.
fn lead(gateway: &Gateway, upstream: &Upstream, body: &Value) -> Client {
    let before = upstream.count();
    let client = send(gateway, &[], body);
    wait_until("the leader's call", || upstream.count() > before);
    client
}

fn follow(gateway: &Gateway, count: usize, body: &Value) -> Vec<Client> {
    let wanted = gateway.metric(FOLLOWERS) + count as f64;
    let followers = (0..count).map(|_| send(gateway, &[], body)).collect();
    gateway.wait_for_metric(FOLLOWERS, wanted);
    followers
}

pub(crate) fn nothing_is_left(gateway: &Gateway) {
    gateway.wait_for_metric("ringside_coalesce_in_flight", 0.0);
    gateway.wait_for_metric("ringside_coalesce_buffer_bytes", 0.0);
    gateway.wait_for_metric("ringside_connections_open", 0.0);
    assert_eq!(gateway.metric("ringside_panics_total"), 0.0);
}
