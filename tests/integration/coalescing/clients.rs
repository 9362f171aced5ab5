//! Clients of one shared call: they come late, hang up, or read slowly.

use super::*;
use std::sync::atomic::AtomicUsize;
use std::thread::JoinHandle;

#[test]
fn identical_requests_share_one_call_over_cores() {
    on_both_drivers(|driver| {
        let gate = Gate::default();
        let upstream = gated(&gate);
        let gateway = start(driver, upstream.config());
        let mut leader = lead(&gateway, &upstream, &ask("q"));
        // Fields that do not change the response do not separate requests.
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
        // Later requests get the stored response, and the connections can be used again.
        assert_eq!(leader.post(PATH, &[], &ask("q")).cache(), "exact");
        assert_eq!(followers[0].post(PATH, &[], &ask("q")).cache(), "exact");
        gateway.wait_for_metric("ringside_cache_lookups_total{outcome=\"exact\"}", 2.0);
        // One request is billed, the others save its tokens.
        gateway.wait_for_metric(BILLED, 1.0);
        gateway.wait_for_metric(SAVED, 8.0 * 12.0);
        drop((leader, followers));
        nothing_is_left(&gateway);
    });
}

#[test]
fn followers_of_a_stream_get_the_events_before_they_joined_and_all_that_follow() {
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
        gateway.wait_for_metric(BILLED, 1.0);
        drop((leader, followers, with_usage));
        nothing_is_left(&gateway);
    });
}

#[test]
fn a_leader_that_hangs_up_hands_its_call_over() {
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
            // One of the remaining followers hangs up as well.
            drop(followers.pop());
            // A request that arrives now can still join.
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
            gateway.wait_for_metric(BILLED, 1.0);
            drop(followers);
            nothing_is_left(&gateway);
        }
    });
}

#[test]
fn a_call_ends_when_all_its_clients_have_hung_up() {
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
        // The usage of the two streams is unknown.
        gateway.wait_for_metric(
            "ringside_usage_missing_total{gen_ai_request_model=\"m\"}",
            2.0,
        );
    });
}

const EVENT: &str = "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx";
const EVENTS: usize = 500;

/// After its first event and the gate, a stream of about 24 MB, more than the buffers of sockets hold.
/// It waits for the slowest of the clients that count what they `read`.
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
            wait_until("the reading clients have caught up", || {
                let slowest = read.iter().map(|bytes| bytes.load(Ordering::SeqCst)).min();
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
fn a_slow_reader_delays_nobody_and_loses_the_stream_at_the_limit() {
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
                // The first client is the leader.
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
            // The limit holds for the bytes that are buffered for the slow client.
            assert!(gateway.metric("ringside_coalesce_buffer_bytes") < 4.0 * 1024.0 * 1024.0);
            let text = read_all(slow, |_| {}).join().unwrap();
            assert!(text.contains("coalesced_stream_too_slow"));
            assert!(!text.contains("[DONE]"));
            assert!(text.ends_with("\r\n0\r\n\r\n"));
            assert_eq!(upstream.count(), 1);
            gateway.wait_for_metric("ringside_coalesce_followers_too_slow_total", 1.0);
            gateway.wait_for_metric(BILLED, 1.0);
            nothing_is_left(&gateway);
        }
    });
}
