//! Coalescing: identical requests in flight share one upstream call, on whatever core they are; nobody
//! waits for another; nothing is shared that should not be; nothing leaks.

use crate::harness::*;
use serde_json::{Value, json};
use std::io::Write;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

const PATH: &str = "/v1/chat/completions";
const FOLLOWERS: &str = "ringside_coalesced_requests_total";
const HANDOVERS: &str = "ringside_coalesce_handovers_total";
const SAVED: &str = "ringside_cache_tokens_saved_total{gen_ai_request_model=\"m\"}";
const BOUGHT: &str = "gen_ai_client_token_usage_count{ringside_key=\"\",gen_ai_request_model=\"m\",gen_ai_token_type=\"input\"}";

/// Holds an upstream until the test has seen enough.
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

/// Answers when the gate is open: a stream's first words come before.
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

fn nothing_is_left(gateway: &Gateway) {
    gateway.wait_for_metric("ringside_coalesce_in_flight", 0.0);
    gateway.wait_for_metric("ringside_coalesce_buffer_bytes", 0.0);
    gateway.wait_for_metric("ringside_connections_open", 0.0);
    assert_eq!(gateway.metric("ringside_panics_total"), 0.0);
}

#[test]
fn identical_requests_share_one_call_over_cores() {
    on_both_drivers(|driver| {
        let gate = Gate::default();
        let upstream = gated(&gate);
        let gateway = start(driver, upstream.config());
        let mut leader = lead(&gateway, &upstream, &ask("q"));
        // What does not change the answer does not keep requests apart.
        let mut followers = follow(&gateway, 6, &with(ask("q"), "user", "someone".into()));
        assert_eq!(gateway.metric("ringside_coalesce_in_flight"), 1.0);
        gate.open();
        let answer = leader.response();
        assert_eq!(answer.cache(), "miss");
        for follower in &mut followers {
            let reply = follower.response();
            assert_eq!(reply.status, 200);
            assert_eq!(reply.body, answer.body);
            assert_eq!(reply.cache(), "coalesced");
            assert_eq!(
                reply.header("x-ringside-cache-reason"),
                Some("same request in flight")
            );
            assert_eq!(reply.header("x-ringside-attempts"), Some("0"));
            assert_eq!(
                reply.header("x-ringside-target"),
                answer.header("x-ringside-target")
            );
            assert_ne!(reply.header("x-request-id"), answer.header("x-request-id"));
        }
        assert_eq!(upstream.count(), 1);
        // Later ones have it from the store, and the connections can be used again.
        assert_eq!(leader.post(PATH, &[], &ask("q")).cache(), "exact");
        assert_eq!(followers[0].post(PATH, &[], &ask("q")).cache(), "exact");
        gateway.wait_for_metric("ringside_cache_lookups_total{outcome=\"exact\"}", 2.0);
        // Bought once, saved by the rest.
        assert_eq!(gateway.metric(BOUGHT), 1.0);
        assert_eq!(gateway.metric(SAVED), 8.0 * 12.0);
        drop((leader, followers));
        nothing_is_left(&gateway);
    });
}

#[test]
fn followers_of_a_stream_get_what_came_before_and_then_what_comes() {
    on_both_drivers(|driver| {
        let gate = Gate::default();
        let upstream = gated(&gate);
        let gateway = start(driver, upstream.config());
        let mut leader = lead(&gateway, &upstream, &ask_stream("q"));
        leader.read_until("first ");
        let mut followers = follow(&gateway, 3, &ask_stream("q"));
        let options = json!({"include_usage": true});
        let asks_usage = with(ask_stream("q"), "stream_options", options);
        let mut with_usage = follow(&gateway, 1, &asks_usage).remove(0);
        for follower in &mut followers {
            follower.read_until("first ");
            assert!(!String::from_utf8_lossy(&follower.unread).contains("second "));
        }
        gate.open();
        let answer = leader.response();
        assert_eq!(
            (answer.cache(), &*answer.content()),
            ("miss", "first second ")
        );
        for follower in &mut followers {
            let reply = follower.response();
            assert_eq!((reply.cache(), reply.text()), ("coalesced", answer.text()));
            assert!(!reply.text().contains("prompt_tokens"));
        }
        let reply = with_usage.response();
        assert_eq!(reply.content(), "first second ");
        assert!(
            reply.text().contains("\"prompt_tokens\":7"),
            "{}",
            reply.text()
        );
        assert_eq!(upstream.count(), 1);
        assert_eq!(leader.post(PATH, &[], &ask("q")).cache(), "exact");
        gateway.wait_for_metric(SAVED, 5.0 * 12.0);
        gateway.wait_for_metric(BOUGHT, 1.0);
        drop((leader, followers, with_usage));
        nothing_is_left(&gateway);
    });
}

#[test]
fn a_leader_that_hangs_up_hands_over() {
    on_both_drivers(|driver| {
        for streamed in [false, true] {
            let gate = Gate::default();
            let upstream = gated(&gate);
            let gateway = start(driver, upstream.config());
            let body = with(ask("q"), "stream", streamed.into());
            let mut leader = lead(&gateway, &upstream, &body);
            if streamed {
                leader.read_until("first ");
            }
            let mut followers = follow(&gateway, 3, &body);
            drop(leader);
            gateway.wait_for_metric(HANDOVERS, 1.0);
            // One of those who took over goes as well.
            drop(followers.pop());
            // Who comes now is as welcome.
            followers.append(&mut follow(&gateway, 1, &body));
            gate.open();
            let wanted = if streamed {
                "first second "
            } else {
                "the whole answer"
            };
            for follower in &mut followers {
                assert_eq!(follower.response().content(), wanted);
            }
            assert_eq!(upstream.count(), 1);
            // Until the call is forgotten, which follows storing, an identical request is still coalesced.
            gateway.wait_for_metric("ringside_coalesce_in_flight", 0.0);
            assert_eq!(followers[0].post(PATH, &[], &body).cache(), "exact");
            gateway.wait_for_metric(BOUGHT, 1.0);
            drop(followers);
            nothing_is_left(&gateway);
        }
    });
}

#[test]
fn when_all_are_gone_the_call_ends() {
    on_both_drivers(|driver| {
        let upstream = Upstream::start(|seen, stream| {
            if seen.json()["stream"] == true {
                stream.write_all(stream_head()).unwrap();
                stream.write_all(&chunk(&delta("first "))).unwrap();
            }
            // Notices the hang-up by reading.
            std::io::Read::read(stream, &mut [0]).unwrap_or(0) > 0
        });
        let gateway = start(driver, upstream.config());
        let (mut calls, mut handovers) = (0, 0.0);
        for streamed in [false, true] {
            for leader_first in [false, true] {
                let body = with(ask(&format!("{calls}")), "stream", streamed.into());
                let mut leader = lead(&gateway, &upstream, &body);
                if streamed {
                    leader.read_until("first ");
                }
                let followers = follow(&gateway, 2, &body);
                if leader_first {
                    drop(leader);
                    handovers += 1.0;
                    gateway.wait_for_metric(HANDOVERS, handovers);
                    drop(followers);
                } else {
                    drop(followers);
                    gateway.wait_for_metric("ringside_connections_open", 1.0);
                    assert_eq!(upstream.closed.load(Ordering::SeqCst), calls);
                    drop(leader);
                }
                calls += 1;
                wait_until("the call has ended", || {
                    upstream.closed.load(Ordering::SeqCst) == calls
                });
                nothing_is_left(&gateway);
            }
        }
        assert_eq!(upstream.count(), 4);
        // What the streams cost is unknown: once each.
        gateway.wait_for_metric(
            "ringside_usage_missing_total{gen_ai_request_model=\"m\"}",
            2.0,
        );
    });
}

const EVENT: &str = "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx";
const EVENTS: usize = 500;

/// After its first event and the gate, a stream of about 24 MB, more than the buffers of sockets hold.
/// It does not run ahead of the slowest of those who `read`.
fn flood(gate: &Gate, read: &Arc<Vec<AtomicUsize>>) -> Upstream {
    let (gate, read) = (gate.clone(), Arc::clone(read));
    Upstream::start(move |_, stream| {
        stream.write_all(stream_head()).unwrap();
        stream.write_all(&chunk(&delta("first "))).unwrap();
        gate.wait();
        let event = chunk(&delta(&EVENT.repeat(750)));
        let mut sent = 0;
        while sent < EVENTS && stream.write_all(&event).is_ok() {
            sent += 1;
            wait_until("those who read have kept up", || {
                let slowest = read.iter().map(|one| one.load(Ordering::SeqCst)).min();
                slowest.unwrap_or(0) + 8 * event.len() >= sent * event.len()
            });
        }
        stream.write_all(&chunk(&stream_end())).is_ok() && stream.write_all(b"0\r\n\r\n").is_ok()
    })
}

/// Reads to the end of the connection, counting bytes.
fn read_all(mut client: Client, count: impl Fn(usize) + Send + 'static) -> JoinHandle<String> {
    std::thread::spawn(move || {
        let mut piece = vec![0; 64 * 1024];
        while let Ok(bytes) = std::io::Read::read(&mut client.stream, &mut piece)
            && bytes > 0
        {
            client.unread.extend_from_slice(&piece[..bytes]);
            count(client.unread.len());
        }
        String::from_utf8(client.unread).unwrap()
    })
}

#[test]
fn who_reads_slowly_holds_nobody_and_loses_the_stream_at_the_limit() {
    on_both_drivers(|driver| {
        for leader_is_slow in [false, true] {
            let gate = Gate::default();
            let read: Arc<Vec<AtomicUsize>> = Arc::new((0..3).map(|_| 0.into()).collect());
            let upstream = flood(&gate, &read);
            let gateway = start(driver, upstream.config());
            let mut clients = Vec::new();
            for at in 0..4 {
                let mut client = send(&gateway, &[("connection", "close")], &ask_stream("q"));
                client.read_until("first ");
                // The first leads.
                gateway.wait_for_metric(FOLLOWERS, f64::from(at));
                clients.push(client);
            }
            let slow = clients.remove(if leader_is_slow { 0 } else { 2 });
            let quick: Vec<_> = clients
                .into_iter()
                .enumerate()
                .map(|(at, client)| {
                    let read = Arc::clone(&read);
                    read_all(client, move |bytes| read[at].store(bytes, Ordering::SeqCst))
                })
                .collect();
            gate.open();
            for reader in quick {
                let text = reader.join().unwrap();
                assert!(text.ends_with("data: [DONE]\n\n\r\n0\r\n\r\n"));
                assert_eq!(text.matches(&EVENT.repeat(750)).count(), EVENTS);
            }
            // The limit holds for what is kept for the slow one.
            assert!(gateway.metric("ringside_coalesce_buffer_bytes") < 4.0 * 1024.0 * 1024.0);
            let text = read_all(slow, |_| {}).join().unwrap();
            assert!(text.contains("coalesced_stream_too_slow"));
            assert!(!text.contains("[DONE]"));
            assert!(text.ends_with("\r\n0\r\n\r\n"));
            assert_eq!(upstream.count(), 1);
            gateway.wait_for_metric("ringside_coalesce_followers_too_slow_total", 1.0);
            gateway.wait_for_metric(BOUGHT, 1.0);
            nothing_is_left(&gateway);
        }
    });
}

#[test]
fn a_stream_that_breaks_off_breaks_off_for_all() {
    on_both_drivers(|driver| {
        let gate = Gate::default();
        let its = gate.clone();
        let upstream = Upstream::start(move |_, stream| {
            stream.write_all(stream_head()).unwrap();
            stream.write_all(&chunk(&delta("first "))).unwrap();
            its.wait();
            false
        });
        let gateway = start(driver, upstream.config());
        let mut clients = vec![lead(&gateway, &upstream, &ask_stream("q"))];
        clients.append(&mut follow(&gateway, 3, &ask_stream("q")));
        for client in &mut clients {
            client.read_until("first ");
        }
        gate.open();
        for client in &mut clients {
            let text = client.response().text();
            assert!(text.contains("upstream_closed_early") && !text.contains("[DONE]"));
            assert!(client.is_closed());
        }
        assert_eq!(upstream.count(), 1);
        gateway.wait_for_metric("ringside_streams_broken_total{side=\"upstream\"}", 4.0);
        drop(clients);
        nothing_is_left(&gateway);
    });
}

/// Answers each call with the next of `statuses`, the last one again and again; the first waits.
fn failing(gate: &Gate, statuses: &'static [u16]) -> Upstream {
    let (gate, calls) = (gate.clone(), AtomicUsize::new(0));
    Upstream::start(move |_, stream| {
        let at = calls.fetch_add(1, Ordering::SeqCst);
        gate.wait();
        match statuses[at.min(statuses.len() - 1)] {
            200 => write_json(stream, 200, &chat_response("at last")),
            status => write_json(stream, status, &json!({"error": {"code": "its own"}})),
        }
    })
}

#[test]
fn a_failed_call_is_repeated_once_for_all_unless_the_request_is_at_fault() {
    // Statuses of the calls, how often the provider is called, what the followers get.
    let cases: [(&[u16], usize, u16); 4] = [
        (&[400], 1, 400),
        (&[500, 200], 2, 200),
        (&[429, 200], 2, 200),
        (&[500], 2, 500),
    ];
    on_both_drivers(|driver| {
        for (statuses, calls, reported) in cases {
            let gate = Gate::default();
            let upstream = failing(&gate, statuses);
            let gateway = start(driver, upstream.config());
            let mut leader = lead(&gateway, &upstream, &ask("q"));
            let mut followers = follow(&gateway, 4, &ask("q"));
            gate.open();
            assert_eq!(leader.response().status, statuses[0]);
            let replies: Vec<Response> = followers.iter_mut().map(Client::response).collect();
            for reply in &replies {
                assert_eq!(reply.status, reported, "{statuses:?}");
                if reported != 200 {
                    assert_eq!(reply.error().0, "its own");
                }
            }
            assert_eq!(upstream.count(), calls, "{statuses:?}");
            drop((leader, followers));
            nothing_is_left(&gateway);
        }
    });
}

#[test]
fn a_provider_that_is_gone_is_tried_once_more_for_all() {
    on_both_drivers(|driver| {
        let gate = Gate::default();
        let its = gate.clone();
        let upstream = Upstream::start(move |_, _| {
            its.wait();
            false
        });
        let gateway = start(driver, upstream.config());
        let mut clients = vec![lead(&gateway, &upstream, &ask("q"))];
        clients.append(&mut follow(&gateway, 4, &ask("q")));
        gate.open();
        for client in &mut clients {
            let reply = client.response();
            assert_eq!(
                (reply.status, &*reply.error().0),
                (502, "upstream_connection_closed")
            );
        }
        assert_eq!(upstream.count(), 2);
        drop(clients);
        nothing_is_left(&gateway);
    });
}

#[test]
fn what_is_not_to_be_shared_is_not() {
    on_both_drivers(|driver| {
        let gate = Gate::default();
        let upstream = gated(&gate);
        let more = concat!(
            "[[keys]]\nname = \"a\"\nsecret = \"env:PATH\"\n",
            "[[keys]]\nname = \"b\"\nsecret = \"env:HOME\"\n",
        );
        let gateway = start(
            driver,
            format!("{}{}{more}", upstream.config(), model("m2", &["up"])),
        );
        let [a, b] =
            ["PATH", "HOME"].map(|name| format!("Bearer {}", std::env::var(name).unwrap()));
        let (whole, streamed) = (ask("q"), ask_stream("q"));
        type Own<'o> = (&'o Value, &'o str, Option<(&'o str, &'o str)>);
        let own: [Own<'_>; 8] = [
            (&whole, &a, None),
            // Another tenant.
            (&whole, &b, None),
            // Another form of the answer.
            (&streamed, &a, None),
            // Other models that may answer.
            (&whole, &a, Some(("x-ringside-models", "m2"))),
            (&whole, &a, Some(("x-ringside-coalesce", "off"))),
            (&whole, &a, Some(("cache-control", "no-cache"))),
            (&whole, &a, Some(("cache-control", "no-store"))),
            (&ask("another"), &a, None),
        ];
        let own: Vec<Client> = own
            .iter()
            .enumerate()
            .map(|(at, (body, key, header))| {
                let mut headers = vec![("authorization", *key)];
                headers.extend(*header);
                let client = send(&gateway, &headers, body);
                wait_until("a call of its own", || upstream.count() == at + 1);
                client
            })
            .collect();
        let refused = gateway.connect().post(
            PATH,
            &[("authorization", &a), ("x-ringside-coalesce", "maybe")],
            &whole,
        );
        assert_eq!(
            (refused.status, &*refused.error().0),
            (400, "invalid_header")
        );
        gate.open();
        for mut client in own {
            assert_eq!(client.response().status, 200);
        }
        assert_eq!(gateway.metric(FOLLOWERS), 0.0);
        nothing_is_left(&gateway);
    });
}

#[test]
fn it_can_be_turned_off() {
    on_both_drivers(|driver| {
        let gate = Gate::default();
        let upstream = gated(&gate);
        let config = format!("{}[cache]\ncoalesce = false\n", upstream.config());
        let gateway = start(driver, config);
        let mut clients = Vec::new();
        for _ in 0..3 {
            clients.push(lead(&gateway, &upstream, &ask("q")));
        }
        gate.open();
        for client in &mut clients {
            assert_eq!(client.response().cache(), "miss");
        }
        assert_eq!(upstream.count(), 3);
    });
}

#[test]
fn many_at_once_are_called_for_once_each() {
    on_both_drivers(|driver| {
        let seen: Arc<Mutex<Vec<String>>> = Arc::default();
        let upstream = Upstream::echo();
        let gateway = start(driver, upstream.config());
        let threads: Vec<_> = (0..12)
            .map(|_| {
                let (mut client, seen) = (gateway.connect(), Arc::clone(&seen));
                std::thread::spawn(move || {
                    for at in 0..60 {
                        let question = format!("q{at}");
                        let body = with(ask(&question), "stream", (at % 2 == 0).into());
                        let reply = client.post(PATH, &[], &body);
                        assert_eq!(reply.content(), format!("answer to: {question}"));
                        seen.lock().unwrap().push(reply.cache().to_owned());
                    }
                })
            })
            .collect();
        for thread in threads {
            thread.join().unwrap();
        }
        // However they fell: together, or one after the other.
        assert_eq!(upstream.count(), 60);
        let seen = seen.lock().unwrap();
        assert_eq!(seen.iter().filter(|one| *one == "miss").count(), 60);
        nothing_is_left(&gateway);
    });
}
