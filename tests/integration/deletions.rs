//! What was in flight at a deletion is not stored behind it: whole, streamed, shared, detached, in memory and on the disk.

use crate::harness::*;
use crate::scoping::keys;
use nix::sys::signal::Signal;
use serde_json::Value;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

const PATH: &str = "/v1/chat/completions";
const NOT_STORED: &str = "ringside_cache_not_stored_total{reason=\"deleted\"}";
const KEY_A: (&str, &str) = ("authorization", "Bearer secret-a");

/// Responds when the gate is open; the first event of a stream is sent before.
fn gated(is_open: &Arc<AtomicBool>) -> Upstream {
    let gate = Arc::clone(is_open);
    Upstream::start(move |seen, stream| {
        let streams = seen.json()["stream"] == true;
        if streams {
            let mut first = stream_head().to_vec();
            first.extend_from_slice(&chunk(&delta("first ")));
            stream.write_all(&first).unwrap();
        }
        wait_until("the gate is open", || gate.load(Ordering::SeqCst));
        if !streams {
            return write_json(stream, 200, &chat_response("the answer"));
        }
        let mut rest = chunk(&stream_end());
        rest.extend_from_slice(b"0\r\n\r\n");
        stream.write_all(&rest).is_ok()
    })
}

struct Fixture {
    is_open: Arc<AtomicBool>,
    upstream: Upstream,
    gateway: Gateway,
}

impl Fixture {
    fn new(driver: &str, cache: &str) -> Self {
        let is_open = Arc::default();
        let upstream = gated(&is_open);
        let (folder, keys) = keys();
        let config = format!("{}{keys}{cache}", upstream.config());
        let gateway = Setup::new(driver, config).start_in(folder);
        Self {
            is_open,
            upstream,
            gateway,
        }
    }

    fn send(&self, body: &Value, more: &[(&str, &str)]) -> Client {
        let before = self.upstream.count();
        let mut client = self.gateway.connect();
        let headers = [&[KEY_A], more].concat();
        client.send(&request(PATH, &headers, body.to_string().as_bytes()));
        wait_until("the call", || self.upstream.count() > before);
        client
    }

    fn delete(&self, query: &str) {
        let path = format!("/admin/v1/cache{query}");
        assert_eq!(self.gateway.admin("DELETE", &path).status, 200);
    }

    fn set_open(&self, is_open: bool) {
        self.is_open.store(is_open, Ordering::SeqCst);
    }

    /// Where the answer to the same request comes from.
    fn ask(&self, body: &Value) -> String {
        let reply = self.gateway.post_with(PATH, &[KEY_A], body);
        assert_eq!(reply.status, 200, "{reply:?}");
        reply.cache().to_owned()
    }
}

#[test]
fn a_response_in_flight_at_a_deletion_is_not_stored() {
    on_both_drivers(|driver| {
        let fixture = Fixture::new(driver, "");
        let mut not_stored = 0.0;
        for (query, is_covered) in [
            ("", true),
            ("?model=m", true),
            ("?key=a", true),
            ("?model=m&key=a", true),
            ("?model=other", false),
            ("?key=b", false),
            ("?model=m&key=b", false),
        ] {
            for body in [ask(query), ask_stream(&format!("streamed {query}"))] {
                fixture.set_open(false);
                let mut client = fixture.send(&body, &[]);
                fixture.delete(query);
                fixture.set_open(true);
                assert_eq!(client.response().cache(), "miss");
                let expected = if is_covered { "miss" } else { "exact" };
                assert_eq!(fixture.ask(&body), expected, "{query}");
                // What began after the deletion is stored.
                assert_eq!(fixture.ask(&body), "exact", "{query}");
                not_stored += f64::from(u8::from(is_covered));
                assert_eq!(fixture.gateway.metric(NOT_STORED), not_stored, "{query}");
            }
        }
    });
}

#[test]
fn a_deletion_of_one_entry_covers_its_successor_in_flight() {
    on_both_drivers(|driver| {
        let fixture = Fixture::new(driver, "");
        for (method, suffix) in [("DELETE", ""), ("POST", "/wrong")] {
            let body = ask(&format!("entry {method}"));
            fixture.set_open(true);
            assert_eq!(fixture.ask(&body), "miss");
            let hit = fixture.gateway.post_with(PATH, &[KEY_A], &body);
            let id = hit.header("x-ringside-cache-entry").unwrap().to_owned();
            fixture.set_open(false);
            let mut renewed = fixture.send(&body, &[("cache-control", "no-cache")]);
            let mut other = fixture.send(&ask(&format!("other {method}")), &[]);
            let path = format!("/admin/v1/cache/entries/{id}{suffix}");
            assert_eq!(fixture.gateway.admin(method, &path).status, 200);
            fixture.set_open(true);
            renewed.response();
            other.response();
            assert_eq!(fixture.ask(&body), "miss", "{method}");
            if method == "DELETE" {
                assert_eq!(fixture.ask(&ask("other DELETE")), "exact");
            }
        }
    });
}

#[test]
fn a_request_after_a_deletion_does_not_share_a_call_from_before_it() {
    on_both_drivers(|driver| {
        for body in [ask("q"), ask_stream("q")] {
            let fixture = Fixture::new(driver, "");
            let mut leader = fixture.send(&body, &[]);
            let mut follower = fixture.gateway.connect();
            let bytes = request(PATH, &[KEY_A], body.to_string().as_bytes());
            follower.send(&bytes);
            fixture
                .gateway
                .wait_for_metric("ringside_coalesced_requests_total", 1.0);
            fixture.delete("");
            // `send` waits for a call of its own.
            let mut later = fixture.send(&body, &[]);
            fixture.set_open(true);
            assert_eq!(leader.response().cache(), "miss");
            assert_eq!(follower.response().cache(), "coalesced");
            assert_eq!(later.response().cache(), "miss");
            assert_eq!(fixture.upstream.count(), 2);
            // Only the response of the later call is stored.
            assert_eq!(fixture.ask(&body), "exact");
            assert_eq!(fixture.gateway.metric(NOT_STORED), 1.0);
        }
    });
}

/// The call goes on for its followers when the client that caused it is gone.
#[test]
fn a_call_whose_client_is_gone_stores_nothing_behind_a_deletion() {
    on_both_drivers(|driver| {
        for body in [ask("q"), ask_stream("q")] {
            let fixture = Fixture::new(driver, "");
            let leader = fixture.send(&body, &[]);
            let mut follower = fixture.gateway.connect();
            follower.send(&request(PATH, &[KEY_A], body.to_string().as_bytes()));
            fixture
                .gateway
                .wait_for_metric("ringside_coalesced_requests_total", 1.0);
            fixture.delete("");
            drop(leader);
            fixture.set_open(true);
            assert_eq!(follower.response().status, 200);
            assert_eq!(fixture.ask(&body), "miss");
        }
    });
}

fn on_disk(folder: &Path) -> String {
    format!("[cache]\ndir = \"{}\"\n", folder.display())
}

#[test]
fn nothing_in_flight_at_a_deletion_returns_after_a_restart() {
    on_both_drivers(|driver| {
        let disk = tempfile::tempdir().unwrap();
        let upstream = Upstream::echo();
        let (first, other) = (ask("first"), ask("other"));
        {
            let mut fixture = Fixture::new(driver, &on_disk(disk.path()));
            let mut client = fixture.send(&first, &[]);
            fixture.delete("");
            fixture.set_open(true);
            client.response();
            assert_eq!(fixture.ask(&other), "miss");
            // The deletion, twice, and the other entry.
            let written = "ringside_cache_disk_written_total";
            fixture.gateway.wait_for_metric(written, 3.0);
            fixture.gateway.signal(Signal::SIGKILL);
            fixture.gateway.wait_for_exit();
        }
        let (folder, keys) = keys();
        let config = format!("{}{keys}{}", upstream.config(), on_disk(disk.path()));
        let gateway = Setup::new(driver, config).start_in(folder);
        gateway.wait_for_metric("ringside_cache_disk_loading", 0.0);
        let first = gateway.post_with(PATH, &[KEY_A], &first);
        assert_eq!(first.cache(), "miss");
    });
}
