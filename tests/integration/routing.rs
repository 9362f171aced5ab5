//! Routing by measurements: a dead target is skipped and found again, a 429 puts its target in cooldown for the time it
//! names, a refused key is in cooldown, and a policy decides the order.

use crate::harness::*;
use serde_json::{Value, json};
use std::io::Write;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::time::{Duration, Instant};

/// A provider whose status can be changed; 0 hangs up.
fn switched() -> (Upstream, Arc<AtomicU16>) {
    let status = Arc::new(AtomicU16::new(200));
    let reported = Arc::clone(&status);
    let upstream = Upstream::start(move |seen, stream| match reported.load(Ordering::SeqCst) {
        0 => false,
        200 if seen.json()["stream"] == true => write_stream(stream, "fine"),
        200 => write_json(stream, 200, &chat_response("fine")),
        other => write_json(stream, other, &error()),
    });
    (upstream, status)
}

fn error() -> Value {
    json!({"error": {"message": "no", "type": "t", "param": null, "code": "c"}})
}

fn write_error(stream: &mut TcpStream, status: u16, headers: &str) -> bool {
    let body = error().to_string();
    let head = format!(
        "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\n{headers}content-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all((head + &body).as_bytes()).is_ok()
}

/// One core, so that every request sees the measurements of the one before.
const ONE_CORE: &str = "cores = 1";
/// Nothing comes from the cache.
const NO_CACHE: &str = "[cache]\nenabled = false\n";

fn two(first: &Upstream, second: &Upstream) -> String {
    format!(
        "{}{}{}{NO_CACHE}",
        first.provider("first"),
        second.provider("second"),
        model("m", &["first", "second"])
    )
}

fn facts(reply: &Response) -> (u16, &str, &str) {
    (
        reply.status,
        reply.header("x-ringside-target").unwrap_or_default(),
        reply.header("x-ringside-attempts").unwrap_or_default(),
    )
}

const FIRST: &str = "first/m-at-first";
const SECOND: &str = "second/m-at-second";

#[test]
fn a_dead_target_is_skipped_once_it_is_known_and_found_again() {
    on_both_drivers(|driver| {
        let ((first, status), second) = (switched(), Upstream::echo());
        let setup = Setup::new(driver, two(&first, &second)).server(ONE_CORE);
        let gateway = setup.start();
        assert_eq!(facts(&gateway.chat(&ask("fine"))), (200, FIRST, "1"));
        status.store(0, Ordering::SeqCst);
        // After a pooled connection died, the request is sent once more on a fresh one.
        assert_eq!(facts(&gateway.chat(&ask("0"))), (200, SECOND, "3"));
        for at in 1..5 {
            assert_eq!(
                facts(&gateway.chat(&ask(&format!("{at}")))),
                (200, SECOND, "2")
            );
        }
        let seen = first.count();
        for at in 0..20 {
            assert_eq!(
                facts(&gateway.chat(&ask(&format!("{at}")))),
                (200, SECOND, "1")
            );
        }
        assert_eq!(first.count(), seen, "an attempt was sent to an open target");
        let health = format!("ringside_target_health{{target=\"{FIRST}\"}}");
        assert_eq!(gateway.metric(&health), 0.0);
        let line = gateway.wait_for_log(|line| line["event"] == "target_phase");
        assert_eq!(
            (line["target"].as_str(), line["what"].as_str()),
            (Some(FIRST), Some("open"))
        );

        status.store(200, Ordering::SeqCst);
        let back_at = Instant::now();
        let mut from_first = 0;
        while from_first < 20 {
            let reply = gateway.chat(&ask("again"));
            assert_eq!(reply.status, 200);
            from_first += usize::from(facts(&reply).1 == FIRST);
            assert!(back_at.elapsed() < Duration::from_secs(10), "not noticed");
            std::thread::sleep(Duration::from_millis(10));
        }
        let phases =
            format!("ringside_target_changes_total{{target=\"{FIRST}\",phase=\"slow_start\"}}");
        gateway.wait_for_metric(&phases, 1.0);
    });
}

#[test]
fn when_every_target_is_open_the_best_is_tried() {
    on_both_drivers(|driver| {
        let (only, status) = switched();
        let setup = Setup::new(driver, only.config() + NO_CACHE).server(ONE_CORE);
        let gateway = setup.start();
        status.store(500, Ordering::SeqCst);
        for at in 0..20 {
            let reply = gateway.chat(&ask(&format!("{at}")));
            assert_eq!((reply.status, reply.error().0.as_str()), (500, "c"));
        }
        assert_eq!(only.count(), 20);
        status.store(200, Ordering::SeqCst);
        assert_eq!(gateway.chat(&ask("works again")).status, 200);
    });
}

#[test]
fn streams_that_break_open_their_target() {
    on_both_drivers(|driver| {
        let first = Upstream::start(|_, stream| {
            let mut out = stream_head().to_vec();
            out.extend_from_slice(&chunk(&delta("half ")));
            stream.write_all(&out).unwrap();
            false
        });
        let second = Upstream::echo();
        let setup = Setup::new(driver, two(&first, &second)).server(ONE_CORE);
        let gateway = setup.start();
        for at in 0..5 {
            let reply = gateway.chat(&ask_stream(&format!("{at}")));
            assert!(reply.text().contains("upstream_closed_early"), "{reply:?}");
        }
        assert_eq!(
            facts(&gateway.chat(&ask_stream("whole"))),
            (200, SECOND, "1")
        );
    });
}

#[test]
fn a_429_puts_its_target_in_cooldown_for_the_time_it_names() {
    on_both_drivers(|driver| {
        let limits = Arc::new(AtomicBool::new(true));
        let limited = Arc::clone(&limits);
        let first = Upstream::start(move |_, stream| {
            if limited.swap(false, Ordering::SeqCst) {
                return write_error(stream, 429, "retry-after-ms: 1500\r\nretry-after: 2\r\n");
            }
            write_json(stream, 200, &chat_response("fine"))
        });
        let second = Upstream::echo();
        let setup = Setup::new(driver, two(&first, &second)).server(ONE_CORE);
        let gateway = setup.start();
        let limited_at = Instant::now();
        assert_eq!(facts(&gateway.chat(&ask("0"))), (200, SECOND, "2"));
        let received_at = Instant::now();
        let cooldown = Duration::from_millis(1500);
        loop {
            let sent_at = Instant::now();
            let reply = gateway.chat(&ask("next"));
            if facts(&reply).1 == FIRST {
                assert!(
                    limited_at.elapsed() >= cooldown,
                    "sent too early: {:?}",
                    limited_at.elapsed()
                );
                break;
            }
            assert_eq!(facts(&reply), (200, SECOND, "1"));
            assert!(sent_at < received_at + cooldown, "still in cooldown");
            std::thread::sleep(Duration::from_millis(20));
        }
        assert_eq!(first.count(), 2);
    });
}

#[test]
fn when_every_target_is_limited_the_client_learns_how_long_to_wait() {
    on_both_drivers(|driver| {
        let wait = |header: &'static str| {
            Upstream::start(move |_, stream| write_error(stream, 429, header))
        };
        let (first, second) = (
            wait("x-ratelimit-reset-requests: 1m30s\r\n"),
            wait("retry-after: 30\r\n"),
        );
        let setup = Setup::new(driver, two(&first, &second)).server(ONE_CORE);
        let gateway = setup.start();
        for attempts in ["2", "0", "0"] {
            let reply = gateway.chat(&ask("x"));
            assert_eq!(
                (reply.status, reply.error().0.as_str()),
                (429, "upstream_rate_limited")
            );
            assert_eq!(reply.header("retry-after"), Some("30"));
            assert_eq!(reply.header("x-should-retry"), Some("true"));
            assert_eq!(reply.header("x-ringside-attempts"), Some(attempts));
        }
        assert_eq!((first.count(), second.count()), (1, 1));
    });
}

#[test]
fn a_refused_key_is_put_in_cooldown_and_the_others_serve() {
    on_both_drivers(|driver| {
        let upstream = Upstream::start(|seen, stream| {
            if seen.header("authorization") == Some("Bearer key-one") {
                return write_error(stream, 401, "");
            }
            write_json(stream, 200, &chat_response("fine"))
        });
        let folder = tempfile::tempdir().unwrap();
        for (file, key) in [("k1", "key-one"), ("k2", "key-two"), ("k3", "key-three")] {
            std::fs::write(folder.path().join(file), key).unwrap();
        }
        let address = upstream.address.to_string();
        let keys = "api_keys = [\"file:k1\", \"file:k2\", \"file:k3\"]";
        let config = format!(
            "{}{}{NO_CACHE}",
            provider("up", &address, keys),
            model("m", &["up"])
        );
        let gateway = Setup::new(driver, config).server(ONE_CORE).start_in(folder);
        for at in 0..7 {
            let reply = gateway.chat(&ask(&format!("{at}")));
            assert_eq!(reply.status, 200, "{reply:?}");
        }
        let seen = upstream.seen.lock().unwrap();
        let refused = seen
            .iter()
            .filter(|one| one.header("authorization") == Some("Bearer key-one"));
        assert_eq!((refused.count(), seen.len()), (1, 8));
        drop(seen);
        let line = gateway.wait_for_log(|line| line["event"] == "key_cooldown");
        assert_eq!(
            (line["what"].as_str(), line["api_key"].as_u64()),
            (Some("refused"), Some(1))
        );
        assert!(!gateway.log_lines().join("\n").contains("key-one"));
    });
}

#[test]
fn one_limited_key_leaves_the_others() {
    on_both_drivers(|driver| {
        let upstream = Upstream::start(|seen, stream| {
            if seen.header("authorization") == Some("Bearer key-one") {
                return write_error(stream, 429, "retry-after: 60\r\n");
            }
            write_json(stream, 200, &chat_response("fine"))
        });
        let folder = tempfile::tempdir().unwrap();
        for (file, key) in [("k1", "key-one"), ("k2", "key-two")] {
            std::fs::write(folder.path().join(file), key).unwrap();
        }
        let address = upstream.address.to_string();
        let keys = "api_keys = [\"file:k1\", \"file:k2\"]";
        let config = format!(
            "{}{}{NO_CACHE}",
            provider("up", &address, keys),
            model("m", &["up"])
        );
        let gateway = Setup::new(driver, config).server(ONE_CORE).start_in(folder);
        for at in 0..6 {
            assert_eq!(gateway.chat(&ask(&format!("{at}"))).status, 200);
        }
        assert_eq!(upstream.count(), 7);
    });
}

#[test]
fn the_policy_decides() {
    on_both_drivers(|driver| {
        let (first, second) = (Upstream::echo(), Upstream::echo());
        let spread = |policy: &str, headers: &[(&str, &str)]| {
            let config = two(&first, &second).replace(
                "name = \"m\"\n",
                &format!("name = \"m\"\npolicy = \"{policy}\"\n"),
            );
            let gateway = Setup::new(driver, config).server(ONE_CORE).start();
            let mut client = gateway.connect();
            let targets = (0..40).map(|at| {
                let reply = client.post("/v1/chat/completions", headers, &ask(&format!("{at}")));
                assert_eq!(facts(&reply).2, "1");
                usize::from(facts(&reply).1 == FIRST)
            });
            targets.sum::<usize>()
        };
        assert_eq!(spread("priority", &[]), 40);
        assert_eq!(spread("round-robin", &[]), 20);
        for policy in ["weighted", "least-outstanding"] {
            assert!((5..=35).contains(&spread(policy, &[])), "{policy}");
        }
        assert!((1..=39).contains(&spread("least-latency", &[])));
        let sticks = spread("sticky", &[("x-ringside-session", "s1")]);
        assert!(sticks == 0 || sticks == 40, "{sticks}");
    });
}

#[test]
fn least_latency_leaves_a_target_that_turned_slow() {
    on_both_drivers(|driver| {
        let is_slow = Arc::new(AtomicBool::new(false));
        let slow = Arc::clone(&is_slow);
        let first = Upstream::start(move |_, stream| {
            let ms = if slow.load(Ordering::SeqCst) { 100 } else { 10 };
            std::thread::sleep(Duration::from_millis(ms));
            write_stream(stream, "fine")
        });
        let second = Upstream::start(|_, stream| {
            std::thread::sleep(Duration::from_millis(10));
            write_stream(stream, "fine")
        });
        let config = two(&first, &second).replace(
            "name = \"m\"\n",
            "name = \"m\"\npolicy = \"least-latency\"\n",
        );
        let gateway = Setup::new(driver, config).server(ONE_CORE).start();
        let ask_for = |time: Duration| {
            let until = Instant::now() + time;
            let workers: Vec<_> = (0..4)
                .map(|_| {
                    let mut client = gateway.connect();
                    std::thread::spawn(move || {
                        while Instant::now() < until {
                            client.post("/v1/chat/completions", &[], &ask_stream("x"));
                        }
                    })
                })
                .collect();
            workers
                .into_iter()
                .for_each(|worker| worker.join().unwrap());
        };
        ask_for(Duration::from_secs(1));
        // Both were measured; chance decides how requests are spread over equal targets.
        assert!(
            first.count() > 2 && second.count() > 2,
            "{} {}",
            first.count(),
            second.count()
        );
        is_slow.store(true, Ordering::SeqCst);
        ask_for(Duration::from_secs(1));
        let before = (first.count(), second.count());
        ask_for(Duration::from_secs(3));
        let after = (first.count() - before.0, second.count() - before.1);
        let share = after.0 as f64 / (after.0 + after.1) as f64;
        println!(
            "{driver}: share of the slow target {share:.4} of {}",
            after.0 + after.1
        );
        assert!(share <= 0.03, "{after:?}");
    });
}

#[test]
fn the_callers_chain_of_models_is_tried_as_far_as_its_key_allows() {
    on_both_drivers(|driver| {
        let ((first, status), second) = (switched(), Upstream::echo());
        let config = format!(
            "{}{}{}{}{}[[keys]]\nname = \"all\"\nsha256 = \"{}\"\n[[keys]]\nname = \"some\"\nsha256 = \"{}\"\nmodels = [\"m\"]\n",
            first.provider("first"),
            second.provider("second"),
            model("m", &["first"]),
            model("a", &["first"]),
            model("b", &["second"]),
            // printf %s all | sha256sum; printf %s some | sha256sum
            "5ef5ef0364b6939c4ca61f34b393f7b368d1be8619647aaf83d5b395919ab629",
            "a6b46dd0d1ae5e86cbc8f37e75ceeb6760230c1ca4ffbcb0c97b96dd7d9c464b",
        );
        let gateway = Setup::new(driver, config).server(ONE_CORE).start();
        status.store(500, Ordering::SeqCst);
        let post = |secret: &str, chain: &str| {
            let bearer = format!("Bearer {secret}");
            let headers = [
                ("authorization", bearer.as_str()),
                ("x-ringside-models", chain),
            ];
            gateway.post_with("/v1/chat/completions", &headers, &ask("x"))
        };
        let reply = post("all", "a, m,b");
        assert_eq!(facts(&reply), (200, "second/b-at-second", "3"));
        assert_eq!(reply.content(), "answer to: x");
        let line = gateway.wait_for_log(|line| line["event"] == "request");
        assert_eq!(line["model"], "b");
        // A response of another model is not stored as a response of this one.
        status.store(200, Ordering::SeqCst);
        let reply = post("all", "b");
        assert_eq!((reply.cache(), reply.content().as_str()), ("miss", "fine"));
        for (secret, chain, status, code) in [
            ("some", "m,b", 403, "model_not_allowed"),
            ("all", "nope", 404, "model_not_found"),
        ] {
            let reply = post(secret, chain);
            assert_eq!((reply.status, reply.error().0.as_str()), (status, code));
            assert_eq!(reply.json()["error"]["param"], "x-ringside-models");
        }
    });
}
