//! Upstream calls that fail while several requests share them.

use super::*;
use std::sync::atomic::AtomicUsize;

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

/// Responds to each call with the next of `statuses`, then always with the last; every call waits for the gate.
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
