//! Coalescing in dialects other than OpenAI's: followers share the response in the caller's dialect, whatever the
//! provider's dialect is.

use crate::coalescing::nothing_is_left;
use crate::dialects::Caller::{self, Anthropic, Gemini};
use crate::dialects::{frame, piece, streams, whole};
use crate::harness::*;
use serde_json::json;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

const FOLLOWERS: &str = "ringside_coalesced_requests_total";
const HANDOVERS: &str = "ringside_coalesce_handovers_total";
const SAVED: &str = "ringside_cache_tokens_saved_total{gen_ai_request_model=\"m\"}";
const BILLED: &str = "gen_ai_client_token_usage_count{ringside_key=\"\",gen_ai_request_model=\"m\",gen_ai_token_type=\"input\"}";

/// Dialects of callers, each with a dialect of the provider.
const PAIRS: [(Caller, &str); 4] = [
    (Anthropic, "anthropic"),
    (Anthropic, "openai"),
    (Gemini, "gemini"),
    (Gemini, "openai"),
];

/// Holds an upstream back until the test opens it.
#[derive(Clone, Default)]
struct Gate(Arc<AtomicUsize>);

impl Gate {
    fn open(&self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }

    /// Waits until it was opened this many times.
    fn wait(&self, times: usize) {
        wait_until("the gate is open", || {
            self.0.load(Ordering::SeqCst) >= times
        });
    }
}

/// Responds when the gate is open; the first event of a stream is sent before.
fn gated(dialect: &'static str, gate: &Gate) -> Upstream {
    let gate = gate.clone();
    Upstream::start(move |seen, stream| {
        if !streams(seen) {
            gate.wait(1);
            return write_json(stream, 200, &whole(dialect, "the whole answer"));
        }
        let (before, after) = frame(dialect);
        let mut first = stream_head().to_vec();
        first.extend_from_slice(&chunk(&(before + &piece(dialect, "first "))));
        stream.write_all(&first).unwrap();
        gate.wait(1);
        let mut rest = chunk(&(piece(dialect, "second ") + &after));
        rest.extend_from_slice(b"0\r\n\r\n");
        stream.write_all(&rest).is_ok()
    })
}

fn start(driver: &str, dialect: &str, upstream: &Upstream, more: &str) -> Gateway {
    let said = format!("dialect = \"{dialect}\"");
    let up = provider("up", &upstream.address.to_string(), &said);
    let config = format!("{up}{}{more}", model("m", &["up"]));
    Setup::new(driver, config).server("cores = 2\n").start()
}

fn send(gateway: &Gateway, caller: Caller, headers: &[(&str, &str)], streams: bool) -> Client {
    let mut client = gateway.connect();
    let body = caller.body("q", streams).to_string();
    client.send(&request(caller.path(streams), headers, body.as_bytes()));
    client
}

/// The leader: its request is upstream when this returns.
fn lead(gateway: &Gateway, upstream: &Upstream, caller: Caller, streams: bool) -> Client {
    let before = upstream.count();
    let client = send(gateway, caller, &[], streams);
    wait_until("the leader's call", || upstream.count() > before);
    client
}

fn follow(gateway: &Gateway, count: usize, caller: Caller, streams: bool) -> Vec<Client> {
    let wanted = gateway.metric(FOLLOWERS) + count as f64;
    let followers = (0..count)
        .map(|_| send(gateway, caller, &[], streams))
        .collect();
    gateway.wait_for_metric(FOLLOWERS, wanted);
    followers
}

/// Each pair, streamed and whole.
fn each(test: impl Fn(&str, Caller, &'static str, bool)) {
    on_both_drivers(|driver| {
        for (caller, dialect) in PAIRS {
            for streams in [false, true] {
                eprintln!("{caller:?} of {dialect}, streamed: {streams}");
                test(driver, caller, dialect, streams);
            }
        }
    });
}

fn wanted(streams: bool) -> &'static str {
    if streams {
        "first second "
    } else {
        "the whole answer"
    }
}

#[test]
fn identical_requests_share_one_call_and_get_the_same_bytes() {
    each(|driver, caller, dialect, streams| {
        let gate = Gate::default();
        let upstream = gated(dialect, &gate);
        let gateway = start(driver, dialect, &upstream, "");
        let mut leader = lead(&gateway, &upstream, caller, streams);
        if streams {
            leader.read_until("first ");
        }
        let mut followers = follow(&gateway, 4, caller, streams);
        for follower in followers.iter_mut().filter(|_| streams) {
            follower.read_until("first ");
            assert!(!String::from_utf8_lossy(&follower.unread).contains("second "));
        }
        gate.open();
        let answer = leader.response();
        assert_eq!((answer.status, answer.cache()), (200, "miss"), "{answer:?}");
        assert_eq!(caller.text(&answer), wanted(streams));
        for follower in &mut followers {
            let reply = follower.response();
            assert_eq!((reply.status, reply.cache()), (200, "coalesced"));
            assert_eq!(reply.text(), answer.text());
            assert_eq!(reply.header("x-ringside-attempts"), Some("0"));
        }
        assert_eq!(upstream.count(), 1);
        // Later requests get the stored response, and the connections can be used again.
        let body = caller.body("q", streams);
        let again = leader.post(caller.path(streams), &[], &body);
        assert_eq!(
            (again.cache(), &*caller.text(&again)),
            ("exact", wanted(streams))
        );
        let again = followers[0].post(caller.path(streams), &[], &body);
        assert_eq!(again.cache(), "exact");
        // One request is billed, the others save its tokens.
        gateway.wait_for_metric(SAVED, 6.0 * 12.0);
        gateway.wait_for_metric(BILLED, 1.0);
        drop((leader, followers));
        nothing_is_left(&gateway);
    });
}

#[test]
fn a_leader_that_hangs_up_hands_its_call_over() {
    each(|driver, caller, dialect, streams| {
        let gate = Gate::default();
        let upstream = gated(dialect, &gate);
        let gateway = start(driver, dialect, &upstream, "");
        let mut leader = lead(&gateway, &upstream, caller, streams);
        if streams {
            leader.read_until("first ");
        }
        let mut followers = follow(&gateway, 3, caller, streams);
        drop(leader);
        gateway.wait_for_metric(HANDOVERS, 1.0);
        // One of the remaining followers hangs up as well.
        drop(followers.pop());
        gate.open();
        for follower in &mut followers {
            assert_eq!(caller.text(&follower.response()), wanted(streams));
        }
        assert_eq!(upstream.count(), 1);
        // Until the call is forgotten, which follows storing, an identical request is still coalesced.
        gateway.wait_for_metric("ringside_coalesce_in_flight", 0.0);
        let body = caller.body("q", streams);
        let again = followers[0].post(caller.path(streams), &[], &body);
        assert_eq!(again.cache(), "exact");
        gateway.wait_for_metric(BILLED, 1.0);
        drop(followers);
        nothing_is_left(&gateway);
    });
}

#[test]
fn a_stream_that_breaks_off_breaks_off_for_all_in_their_dialect() {
    on_both_drivers(|driver| {
        for (caller, dialect) in PAIRS {
            let gate = Gate::default();
            let its = gate.clone();
            let upstream = Upstream::start(move |_, stream| {
                let first = frame(dialect).0 + &piece(dialect, "first ");
                stream.write_all(stream_head()).unwrap();
                stream.write_all(&chunk(&first)).unwrap();
                its.wait(1);
                false
            });
            let gateway = start(driver, dialect, &upstream, "");
            let mut clients = vec![lead(&gateway, &upstream, caller, true)];
            clients.append(&mut follow(&gateway, 3, caller, true));
            for client in &mut clients {
                client.read_until("first ");
            }
            gate.open();
            for client in &mut clients {
                let reply = client.response();
                let last = reply.events().pop().unwrap();
                assert!(last["error"]["message"].is_string(), "{caller:?}: {last}");
                assert!(client.is_closed());
            }
            assert_eq!(upstream.count(), 1);
            drop(clients);
            nothing_is_left(&gateway);
        }
    });
}

#[test]
fn a_failed_call_is_repeated_once_for_all_and_reported_in_their_dialect() {
    on_both_drivers(|driver| {
        for (caller, dialect) in PAIRS {
            for (status, calls) in [(400, 1), (500, 2)] {
                let gate = Gate::default();
                let its = gate.clone();
                let upstream = Upstream::start(move |_, stream| {
                    its.wait(1);
                    write_json(stream, status, &json!({"error": {"message": "its own"}}))
                });
                let gateway = start(driver, dialect, &upstream, "");
                let mut clients = vec![lead(&gateway, &upstream, caller, false)];
                clients.append(&mut follow(&gateway, 3, caller, false));
                gate.open();
                for client in &mut clients {
                    let reply = client.response();
                    assert_eq!(reply.status, status, "{caller:?} of {dialect}");
                    assert_eq!(reply.json()["error"]["message"], "its own");
                }
                assert_eq!(upstream.count(), calls, "{caller:?} of {dialect}");
                drop(clients);
                nothing_is_left(&gateway);
            }
        }
    });
}

const EVENT_BYTES: usize = 48 * 1024;
const EVENTS: usize = 400;

/// A stream of more than the buffers of sockets hold, no faster than `read` counts what is read of it.
fn swelling(dialect: &'static str, gate: &Gate, read: &Arc<AtomicUsize>) -> Upstream {
    let (gate, read) = (gate.clone(), Arc::clone(read));
    Upstream::start(move |_, stream| {
        stream.write_all(stream_head()).unwrap();
        let first = frame(dialect).0 + &piece(dialect, "first ");
        stream.write_all(&chunk(&first)).unwrap();
        gate.wait(1);
        for sent in 0..EVENTS {
            let event = piece(dialect, &"x".repeat(EVENT_BYTES));
            stream.write_all(&chunk(&event)).unwrap();
            wait_until("the reading client has caught up", || {
                read.load(Ordering::SeqCst) + 8 * EVENT_BYTES >= sent * EVENT_BYTES
            });
        }
        let last = piece(dialect, "last ") + &frame(dialect).1;
        stream.write_all(&chunk(&last)).unwrap();
        stream.write_all(b"0\r\n\r\n").is_ok()
    })
}

#[test]
fn a_leader_that_reads_slowly_delays_nobody() {
    on_both_drivers(|driver| {
        for (caller, dialect) in PAIRS {
            let (gate, read) = (Gate::default(), Arc::default());
            let upstream = swelling(dialect, &gate, &read);
            let gateway = start(driver, dialect, &upstream, "");
            let mut leader = lead(&gateway, &upstream, caller, true);
            leader.read_until("first ");
            let mut follower = follow(&gateway, 1, caller, true).remove(0);
            follower.read_until("first ");
            gate.open();
            // All of it comes while the leader reads nothing.
            let mut piece = vec![0; 1 << 20];
            while read.load(Ordering::SeqCst) < EVENTS * EVENT_BYTES {
                let count = std::io::Read::read(&mut follower.stream, &mut piece).unwrap();
                assert!(count > 0, "{caller:?} of {dialect}");
                follower.unread.extend_from_slice(&piece[..count]);
                read.store(follower.unread.len(), Ordering::SeqCst);
            }
            let reply = follower.response();
            let text = caller.text(&reply);
            assert!(text.ends_with("last "), "{caller:?} of {dialect}");
            // The leader fell behind by more than is buffered.
            let end = leader.response().events().pop().unwrap();
            let reported = end["error"]["message"].as_str().unwrap();
            assert!(reported.contains("too slowly"), "{end}");
            assert_eq!(upstream.count(), 1);
            gateway.wait_for_metric(BILLED, 1.0);
            drop((leader, follower));
            nothing_is_left(&gateway);
        }
    });
}

#[test]
fn requests_that_differ_in_tenant_form_or_controls_share_no_call() {
    on_both_drivers(|driver| {
        let gate = Gate::default();
        let upstream = gated("openai", &gate);
        let more = concat!(
            "[[keys]]\nname = \"a\"\nsecret = \"env:PATH\"\n",
            "[[keys]]\nname = \"b\"\nsecret = \"env:HOME\"\n",
        );
        let gateway = start(driver, "openai", &upstream, more);
        let [a, b] =
            ["PATH", "HOME"].map(|name| format!("Bearer {}", std::env::var(name).unwrap()));
        type Own<'o> = (Caller, bool, &'o str, Option<(&'o str, &'o str)>);
        let own: [Own<'_>; 9] = [
            (Anthropic, false, &a, None),
            // Another tenant.
            (Anthropic, false, &b, None),
            // Another form of the response.
            (Anthropic, true, &a, None),
            // Another dialect.
            (Gemini, false, &a, None),
            (Gemini, true, &a, None),
            // Headers that change the response.
            (Anthropic, false, &a, Some(("anthropic-beta", "x"))),
            (
                Anthropic,
                false,
                &a,
                Some(("anthropic-version", "2030-01-01")),
            ),
            (Anthropic, false, &a, Some(("x-ringside-coalesce", "off"))),
            (Gemini, false, &a, Some(("cache-control", "no-cache"))),
        ];
        let mut clients = Vec::new();
        for (caller, streams, key, header) in own {
            let mut headers = vec![("authorization", key)];
            headers.extend(header);
            clients.push(send(&gateway, caller, &headers, streams));
            let wanted = clients.len();
            wait_until("a call of its own", || upstream.count() == wanted);
        }
        // The query may ask for another form.
        let mut client = gateway.connect();
        let body = Gemini.body("q", false).to_string();
        let path = format!("{}?prettyPrint=false", Gemini.path(false));
        client.send(&request(&path, &[("authorization", &a)], body.as_bytes()));
        wait_until("a call of its own", || {
            upstream.count() == clients.len() + 1
        });
        clients.push(client);
        let mut client = gateway.connect();
        let chat = ask("q").to_string();
        client.send(&request(
            "/v1/chat/completions",
            &[("authorization", &a)],
            chat.as_bytes(),
        ));
        wait_until("a call of its own", || {
            upstream.count() == clients.len() + 1
        });
        clients.push(client);
        gate.open();
        for client in &mut clients {
            assert_eq!(client.response().status, 200);
        }
        assert_eq!(gateway.metric(FOLLOWERS), 0.0);
        drop(clients);
        nothing_is_left(&gateway);
    });
}
