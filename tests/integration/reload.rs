//! Reload: keys, models and providers change without dropping a stream; a bad file changes nothing.

use crate::harness::*;
use nix::sys::signal::Signal;
use std::io::Write;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

fn reload(gateway: &Gateway, text: &str, generation: u64) {
    gateway.rewrite_config(text);
    gateway.signal(Signal::SIGHUP);
    wait_until("the new configuration", || {
        gateway.info()["config"]["generation"] == generation
    });
}

#[test]
fn models_come_and_go_while_a_stream_goes_on() {
    on_both_drivers(|driver| {
        let slow = Upstream::start(|_, stream| {
            let mut ok = stream.write_all(stream_head()).is_ok();
            for _ in 0..40 {
                ok = ok && stream.write_all(&chunk(&delta("word "))).is_ok();
                std::thread::sleep(Duration::from_millis(10));
            }
            ok && stream.write_all(&chunk(&stream_end())).is_ok()
                && stream.write_all(b"0\r\n\r\n").is_ok()
        });
        let other = Upstream::echo();
        let gateway = Setup::new(driver, slow.config()).start();
        let mut stream = gateway.connect();
        stream.send(&request(
            "/v1/chat/completions",
            &[],
            ask_stream("x").to_string().as_bytes(),
        ));
        stream.read_until("word");
        let text = Setup::new(
            driver,
            format!("{}{}", other.provider("other"), model("new", &["other"])),
        )
        .text();
        reload(&gateway, &text, 2);
        // The stream is still in flight, so nothing may wait for the end of shared calls.
        let ask_for = |model: &str| {
            let body = with(ask("q"), "model", model.into());
            let mut client = gateway.connect();
            client.post("/v1/chat/completions", &[], &body).status
        };
        assert_eq!((ask_for("new"), ask_for("m")), (200, 404));
        assert_eq!(stream.response().content(), "word ".repeat(40));
        // The same connection goes on under the new configuration.
        assert_eq!(
            stream
                .post(
                    "/v1/chat/completions",
                    &[],
                    &with(ask("r"), "model", "new".into())
                )
                .status,
            200
        );
    });
}

#[test]
fn a_bad_file_is_refused_and_reported() {
    on_both_drivers(|driver| {
        let upstream = Upstream::echo();
        let gateway = Setup::new(driver, upstream.config()).start();
        let good = Setup::new(driver, upstream.config()).text();
        gateway.rewrite_config(&good.replace("base_url", "base_ulr"));
        gateway.signal(Signal::SIGHUP);
        let line = gateway.wait_for_event("reload_refused");
        assert!(
            line["reason"]
                .as_str()
                .unwrap()
                .contains("did you mean `base_url`?")
        );
        assert!(
            gateway.info()["config"]["refused"]
                .as_str()
                .unwrap()
                .contains("base_url")
        );
        gateway.wait_for_metric("ringside_config_refused", 1.0);
        assert_eq!(gateway.chat(&ask("still")).status, 200);
        reload(&gateway, &good, 2);
        assert!(gateway.info()["config"]["refused"].is_null());
    });
}

#[test]
fn a_revoked_key_stops_working_and_the_targets_change_the_cache_scope() {
    let (one, two) = (
        Upstream::echo(),
        Upstream::start(|_, stream| write_json(stream, 200, &chat_response("from two"))),
    );
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("k"), "secret").unwrap();
    let key = "[[keys]]\nname = \"k\"\nsecret = \"file:k\"\n";
    let config = |upstream: &Upstream, keys: &str| {
        Setup::new("io_uring", format!("{}{keys}", upstream.config())).text()
    };
    let gateway = Setup::new("io_uring", format!("{}{key}", one.config())).start_in(folder);
    let call = |gateway: &Gateway| {
        gateway.post_with(
            "/v1/chat/completions",
            &[("authorization", "Bearer secret")],
            &ask("q"),
        )
    };
    assert_eq!(call(&gateway).content(), "answer to: q");
    assert_eq!(call(&gateway).cache(), "exact");
    reload(&gateway, &config(&two, key), 2);
    let fresh = call(&gateway);
    assert_eq!(
        (fresh.cache(), fresh.content().as_str()),
        ("miss", "from two")
    );
    std::fs::write(gateway.folder.path().join("k"), "other-secret").unwrap();
    reload(&gateway, &config(&two, key), 3);
    assert_eq!(call(&gateway).status, 401);
}

#[test]
fn no_request_fails_while_configurations_change() {
    on_both_drivers(|driver| {
        let upstream = Upstream::echo();
        let gateway = Setup::new(driver, upstream.config()).start();
        let stop = AtomicBool::new(false);
        let served = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for worker in 0..4 {
                let (gateway, stop, served) = (&gateway, &stop, &served);
                scope.spawn(move || {
                    let mut client = gateway.connect();
                    while !stop.load(Ordering::Relaxed) {
                        let turn = served.fetch_add(1, Ordering::Relaxed);
                        let body = with(
                            ask(&format!("{worker} {turn}")),
                            "stream",
                            (turn % 2 == 0).into(),
                        );
                        let reply = client.post("/v1/chat/completions", &[], &body);
                        assert_eq!(reply.content(), format!("answer to: {worker} {turn}"));
                    }
                });
            }
            for generation in 2..12 {
                let extra = model(&format!("extra{generation}"), &["up"]);
                let text = Setup::new(driver, upstream.config() + &extra).text();
                reload(&gateway, &text, generation);
                let so_far = served.load(Ordering::Relaxed);
                wait_until("traffic goes on", || {
                    served.load(Ordering::Relaxed) >= so_far + 20
                });
            }
            stop.store(true, Ordering::Relaxed);
        });
    });
}
