//! Which requests share a call, and which have one of their own.

use super::*;
use std::sync::Mutex;

#[test]
fn requests_that_differ_in_tenant_form_or_controls_share_no_call() {
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
            // Another form of the response.
            (&streamed, &a, None),
            // Other fallback models.
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
fn coalescing_can_be_turned_off() {
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
fn concurrent_identical_requests_cause_one_call_per_question() {
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
        // Whether requests shared a call or were sent one after the other.
        assert_eq!(upstream.count(), 60);
        let seen = seen.lock().unwrap();
        assert_eq!(seen.iter().filter(|one| *one == "miss").count(), 60);
        nothing_is_left(&gateway);
    });
}
