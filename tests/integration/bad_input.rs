//! Bad input gets an answer that a person can act on.

use crate::harness::*;
use serde_json::json;
use std::process::{Command, Output};

#[test]
fn requests() {
    on_both_drivers(|driver| {
        let upstream = Upstream::echo();
        let gateway = Setup::new(driver, upstream.config()).start();
        let post = |body: &str| {
            let mut client = gateway.connect();
            client.send(&request("/v1/chat/completions", &[], body.as_bytes()));
            client.response()
        };
        for (body, status, code, says) in [
            ("", 400, "invalid_json", "EOF"),
            (
                "{\"model\": \"m\",\n \"messages\": oops}",
                400,
                "invalid_json",
                "line 2 column 14",
            ),
            ("[]", 400, "invalid_json", "object"),
            ("{\"messages\":[{}]}", 400, "invalid_request", "`model`"),
            ("{\"model\":\"m\"}", 400, "invalid_request", "`messages`"),
            (
                "{\"model\":\"m\",\"model\":\"m\",\"messages\":[1]}",
                400,
                "invalid_request",
                "twice",
            ),
            (
                "{\"model\":\"nope\",\"messages\":[{}]}",
                404,
                "model_not_found",
                "known models: m",
            ),
        ] {
            let reply = post(body);
            assert_eq!(
                (reply.status, reply.error().0.as_str()),
                (status, code),
                "{body}"
            );
            assert!(reply.error().1.contains(says), "{body}: {reply:?}");
            assert!(reply.header("x-request-id").is_some());
        }
        let unknown = gateway.post("/v1/chat", &json!({}));
        assert_eq!(unknown.status, 404);
        assert!(unknown.error().1.contains("/v1/chat/completions"));
        let mut client = gateway.connect();
        client.send(b"GET /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\n\r\n");
        let reply = client.response();
        assert_eq!((reply.status, reply.header("allow")), (405, Some("POST")));
        for (name, value) in [
            ("x-ringside-cache-ttl", "soon"),
            ("x-ringside-similarity-min", "2"),
        ] {
            let reply = gateway.post_with("/v1/chat/completions", &[(name, value)], &ask("x"));
            assert_eq!(reply.status, 400);
            assert!(reply.error().1.contains(name));
        }
        assert_eq!(upstream.count(), 0);
    });
}

#[test]
fn a_callers_request_id_is_echoed_and_sent_on() {
    let upstream = Upstream::echo();
    let gateway = Setup::new("io_uring", upstream.config()).start();
    let reply = gateway.post_with(
        "/v1/chat/completions",
        &[("x-request-id", "mine-1")],
        &ask("x"),
    );
    assert_eq!(reply.header("x-request-id"), Some("mine-1"));
    assert_eq!(reply.header("x-ringside-upstream-request-id"), Some("up-1"));
    assert_eq!(upstream.last().header("x-request-id"), Some("mine-1"));
}

fn ringside(arguments: &[&str], config: &str) -> Output {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ringside.toml");
    std::fs::write(&path, config).unwrap();
    Command::new(env!("CARGO_BIN_EXE_ringside"))
        .args(arguments)
        .arg(&path)
        .env_remove("NOT_SET_ANYWHERE")
        .output()
        .unwrap()
}

#[test]
fn configurations() {
    let good = format!(
        "{}{}",
        provider("up", "127.0.0.1:9", ""),
        model("m", &["up"])
    );
    let fine = ringside(&["check", "--config"], &good);
    assert_eq!(fine.status.code(), Some(0));
    for (config, says) in [
        (
            good.replace("base_url", "base_ulr"),
            "did you mean `base_url`?",
        ),
        (
            good.replace("provider = \"up\"", "provider = \"upp\""),
            "`up`",
        ),
        (
            format!("{good}[[keys]]\nname = \"k\"\nsecret = \"env:NOT_SET_ANYWHERE\"\n"),
            "NOT_SET_ANYWHERE",
        ),
        (
            format!("{good}[[keys]]\nname = \"k\"\nsecret = \"file:absent.key\"\n"),
            "absent.key",
        ),
        (
            format!("{good}[[keys]]\nname = \"k\"\nsecret = \"sk-literal\"\n"),
            "env:",
        ),
        ("[server".into(), "ringside.toml:1"),
        (
            format!("[cache.semantic]\nwrong_hit_rate_max = 0.0001\n{good}"),
            "vouch",
        ),
    ] {
        for command in ["check", "serve"] {
            let output = ringside(&[command, "--config"], &config);
            let text = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(2), "{command}: {text}");
            assert!(text.contains(says), "{command} {config}: {text}");
            assert!(!text.contains("sk-literal"), "{text}");
        }
    }
}

#[test]
fn a_port_in_use_is_named() {
    let upstream = Upstream::echo();
    let first = Setup::new("epoll", upstream.config()).start();
    let config = Setup::new("epoll", upstream.config())
        .server(&format!("listen = \"{}\"\n", first.address))
        .text();
    let output = ringside(&["serve", "--config"], &config);
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        text.contains(&first.address) && text.contains("server.listen"),
        "{text}"
    );
}

#[test]
fn a_wrong_command_line_shows_the_usage() {
    for arguments in [&["frobnicate"][..], &["check"], &["serve", "--nope"], &[]] {
        let output = Command::new(env!("CARGO_BIN_EXE_ringside"))
            .args(arguments)
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(2));
        assert!(String::from_utf8_lossy(&output.stderr).contains("usage:"));
    }
}
