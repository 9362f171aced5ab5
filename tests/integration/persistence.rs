//! Answers that outlive the process: stopped, killed, moved to other tenants, models and settings.

use crate::harness::*;
use nix::sys::signal::Signal;
use std::path::Path;

const SEMANTIC: &str =
    "[cache.semantic]\nmode = \"serve\"\nsimilarity_min = 0.9\ndeadline = \"5s\"\n";

fn cache(folder: &Path, more: &str) -> String {
    format!("[cache]\ndir = \"{}\"\n{more}", folder.display())
}

/// Waits until everything of the earlier run is there.
fn read_back(gateway: &Gateway) {
    gateway.wait_for_metric("ringside_cache_disk_loading", 0.0);
}

#[test]
fn killed_and_started_again_it_answers_from_the_cache() {
    on_both_drivers(|driver| {
        let folder = tempfile::tempdir().unwrap();
        let upstream = Upstream::echo();
        let config = upstream.config() + &cache(folder.path(), SEMANTIC);
        let mut gateway = Setup::new(driver, config.clone()).start();
        crate::local_model::ready(&gateway);
        let question = "What is the capital of France?";
        let answer = gateway.chat(&ask(question)).content();
        gateway.wait_for_metric("ringside_cache_disk_written_total", 1.0);
        gateway.signal(Signal::SIGKILL);
        gateway.wait_for_exit();
        let gateway = Setup::new(driver, config).start();
        // Ready at once; what is not read back yet is a miss.
        assert_eq!(gateway.admin("GET", "/readyz").status, 200);
        read_back(&gateway);
        gateway.wait_for_metric("ringside_cache_disk_recovered_total", 1.0);
        let again = gateway.chat(&ask(question));
        assert_eq!((again.cache(), again.content()), ("exact", answer.clone()));
        let reworded = gateway.chat(&ask("What is the capital city of France?"));
        assert_eq!(reworded.cache(), "semantic", "{reworded:?}");
        assert_eq!(reworded.content(), answer);
        assert_eq!(upstream.count(), 1);
    });
}

#[test]
fn killed_under_load_it_serves_nothing_torn() {
    on_both_drivers(|driver| {
        let folder = tempfile::tempdir().unwrap();
        let upstream = Upstream::echo();
        let config = upstream.config() + &cache(folder.path(), "disk_max = \"2MiB\"\n");
        let question = |at: usize| format!("{at} {}", "long ".repeat(at % 300));
        for round in 0..4 {
            let mut gateway = Setup::new(driver, config.clone()).start();
            read_back(&gateway);
            let mut client = gateway.connect();
            for at in 0..200 {
                let reply = client.post("/v1/chat/completions", &[], &ask(&question(at)));
                // What was asked is what is answered, from wherever it comes.
                assert_eq!(reply.content(), format!("answer to: {}", question(at)));
            }
            if round > 0 {
                assert!(gateway.metric("ringside_cache_disk_recovered_total") > 0.0);
            }
            assert_eq!(gateway.metric("ringside_cache_disk_damaged_total"), 0.0);
            gateway.signal(Signal::SIGKILL);
            gateway.wait_for_exit();
        }
    });
}

#[test]
fn deleted_entries_and_those_of_another_scope_do_not_come_back() {
    on_both_drivers(|driver| {
        let folder = tempfile::tempdir().unwrap();
        let upstream = Upstream::echo();
        let config = upstream.config() + &cache(folder.path(), "");
        let mut gateway = Setup::new(driver, config.clone()).start();
        gateway.chat(&ask("kept"));
        gateway.chat(&ask("deleted"));
        gateway.wait_for_metric("ringside_cache_disk_written_total", 2.0);
        let entry = gateway.chat(&ask("deleted"));
        let id = entry.header("x-ringside-cache-entry").unwrap();
        let deleted = gateway.admin("DELETE", &format!("/admin/v1/cache/entries/{id}"));
        assert_eq!(deleted.status, 200);
        gateway.signal(Signal::SIGKILL);
        gateway.wait_for_exit();
        let mut gateway = Setup::new(driver, config.clone()).start();
        read_back(&gateway);
        assert_eq!(gateway.chat(&ask("kept")).cache(), "exact");
        assert_eq!(gateway.chat(&ask("deleted")).cache(), "miss");
        gateway.signal(Signal::SIGTERM);
        gateway.wait_for_exit();
        // Another target is another scope.
        let other = Upstream::echo();
        let elsewhere = other.config() + &cache(folder.path(), "");
        let gateway = Setup::new(driver, elsewhere).start();
        read_back(&gateway);
        assert!(gateway.metric("ringside_cache_disk_recovered_total") >= 1.0);
        assert_eq!(gateway.chat(&ask("kept")).cache(), "miss");
    });
}

#[test]
fn a_folder_that_cannot_be_used_is_reported() {
    let upstream = Upstream::echo();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    std::fs::write(&file, "").unwrap();
    let path = dir.path().join("ringside.toml");
    let text = Setup::new("epoll", upstream.config() + &cache(&file.join("below"), "")).text();
    std::fs::write(&path, text).unwrap();
    for command in ["check", "serve"] {
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_ringside"))
            .args([command, "--config"])
            .arg(&path)
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(2), "{command}");
        let reported = String::from_utf8(output.stderr).unwrap();
        assert!(reported.contains("cache.dir: cannot use"), "{reported}");
    }
}

#[test]
fn another_folder_needs_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let upstream = Upstream::echo();
    let config = upstream.config() + &cache(&folder.path().join("a"), "");
    let gateway = Setup::new("epoll", config).start();
    let other = Setup::new(
        "epoll",
        upstream.config() + &cache(&folder.path().join("b"), ""),
    );
    gateway.rewrite_config(&other.text());
    gateway.signal(Signal::SIGHUP);
    let event = gateway.wait_for_event("reloaded");
    let restart = event["needs_restart"].as_array().unwrap();
    assert!(
        restart.iter().any(|section| section == "cache.dir"),
        "{event}"
    );
}
