//! Shared health: a core starts with what other cores measured of targets.

use crate::harness::*;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

fn ask_for(model: &str) -> serde_json::Value {
    with(ask_stream("x"), "model", model.into())
}

#[test]
fn a_core_without_measurements_learns_from_others_which_target_is_slow() {
    on_both_drivers(|driver| {
        let slow = Upstream::start(|_, stream| {
            std::thread::sleep(Duration::from_millis(100));
            write_stream(stream, "slow")
        });
        let fast = Upstream::echo();
        let targets = "targets = [{ provider = \"slow\", model = \"x\" }, { provider = \"fast\", model = \"x\" }]";
        // The same targets under two policies: one keeps measuring both, one chooses.
        let config = format!(
            "{}{}[[models]]\nname = \"both\"\npolicy = \"round-robin\"\n{targets}\n\
             [[models]]\nname = \"m\"\npolicy = \"least-latency\"\n{targets}\n[cache]\nenabled = false\n",
            slow.provider("slow"),
            fast.provider("fast"),
        );
        let gateway = Setup::new(driver, config).server("cores = 8").start();
        // Each connection is the only one of its core.
        let mut teacher = gateway.connect();
        teacher.post("/v1/chat/completions", &[], &ask_for("both"));
        let mut others: Vec<Client> = (0..7).map(|_| gateway.connect()).collect();
        gateway.wait_for_metric("ringside_connections_open", 8.0);
        let is_over = Arc::new(AtomicBool::new(false));
        let over = Arc::clone(&is_over);
        let teaching = std::thread::spawn(move || {
            while !over.load(Ordering::SeqCst) {
                teacher.post("/v1/chat/completions", &[], &ask_for("both"));
            }
        });
        let known = "ringside_shared_targets";
        wait_until("a view of both", || gateway.metric(known) == 2.0);
        let until = Instant::now() + TEST_TIMEOUT;
        let to_slow = others.iter_mut().filter_map(|client| {
            let reply = client.post("/v1/chat/completions", &[], &ask_for("m"));
            assert!(Instant::now() < until);
            (reply.header("x-ringside-target") == Some("slow/x")).then_some(())
        });
        // One in forty measures again by chance; without shared health every request goes to the first target of the file.
        let to_slow = to_slow.count();
        is_over.store(true, Ordering::SeqCst);
        teaching.join().unwrap();
        assert!(to_slow <= 2, "{to_slow} of 7");
    });
}
