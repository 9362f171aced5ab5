//! Memory of request bodies: a request is judged by its head, and the bodies in memory have named limits.

use crate::harness::*;
use std::io::Write;
use std::time::Duration;

const MIB: usize = 1024 * 1024;
const KEY: (&str, &str) = ("authorization", "Bearer sk-a");

/// Two keys, `a` and `b`.
fn with_keys(driver: &str, server: &str, upstream: &Upstream) -> Gateway {
    let folder = tempfile::tempdir().unwrap();
    let mut config = upstream.config();
    for name in ["a", "b"] {
        std::fs::write(
            folder.path().join(format!("{name}.key")),
            format!("sk-{name}"),
        )
        .unwrap();
        config.push_str(&format!(
            "[[keys]]\nname = \"{name}\"\nsecret = \"file:{name}.key\"\nproviders = [\"up\"]\n"
        ));
    }
    Setup::new(driver, config).server(server).start_in(folder)
}

fn head(line: &str, headers: &str) -> Vec<u8> {
    format!("{line} HTTP/1.1\r\nhost: localhost\r\n{headers}\r\n").into_bytes()
}

/// A field of `/proc/PID/status`, in bytes.
fn memory(gateway: &Gateway, field: &str) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{}/status", gateway.child.id())).unwrap();
    let line = status.lines().find(|line| line.starts_with(field)).unwrap();
    let kib = line.split_whitespace().nth(1).unwrap();
    kib.parse::<usize>().unwrap() * 1024
}

#[test]
fn a_request_is_refused_before_its_body_arrives() {
    on_both_drivers(|driver| {
        let upstream = Upstream::echo();
        let gateway = with_keys(driver, "", &upstream);
        let chat = "POST /v1/chat/completions";
        let key = "authorization: Bearer sk-a\r\n";
        let bodies = [
            "content-length: 9\r\n",
            "content-length: 20971520\r\n",
            "transfer-encoding: chunked\r\n",
            "content-length: 9\r\nexpect: 100-continue\r\n",
            "transfer-encoding: chunked\r\nexpect: 100-continue\r\n",
        ];
        let paths = [
            chat,
            "POST /v1/messages",
            "POST /v1/responses",
            "POST /v1beta/models/m:generateContent",
            "POST /v1/embeddings",
            "POST /v1/rerank",
            "POST /v1/images/edits",
            "POST /v1/files",
            "POST /providers/up/x",
        ];
        for body in bodies {
            for path in paths {
                for presented in ["", "authorization: Bearer sk-x\r\n", "x-api-key: sk-x\r\n"] {
                    let mut client = gateway.connect();
                    client.send(&head(path, &format!("{presented}{body}")));
                    let reply = client.response();
                    assert_eq!(reply.status, 401, "{path} {body} {presented}: {reply:?}");
                    assert_eq!(reply.header("connection"), Some("close"));
                    assert!(client.is_closed());
                }
            }
            for (line, status) in [("POST /v1/unknown", 404), ("PUT /v1/chat/completions", 405)] {
                let mut client = gateway.connect();
                client.send(&head(line, &format!("{key}{body}")));
                assert_eq!(client.response().status, status, "{line} {body}");
            }
        }
        let mut client = gateway.connect();
        client.send(&head(chat, &format!("{key}content-length: 99999999\r\n")));
        assert_eq!(client.response().status, 413);
        assert_eq!(upstream.count(), 0);
    });
}

#[test]
fn a_chunk_beyond_the_limit_is_refused_before_it_arrives() {
    on_both_drivers(|driver| {
        let upstream = Upstream::echo();
        let gateway = Setup::new(driver, upstream.config())
            .server("body_max = \"1MiB\"")
            .start();
        for chunks in ["ffffffff\r\n", "100001\r\n", "1\r\nx\r\n100000;a=b\r\n"] {
            let mut client = gateway.connect();
            let chunked = head(
                "POST /v1/chat/completions",
                "transfer-encoding: chunked\r\n",
            );
            client.send(&[&chunked, chunks.as_bytes()].concat());
            let reply = client.response();
            assert_eq!(reply.status, 413, "{chunks:?}");
            assert!(reply.text().contains("server.body_max"), "{reply:?}");
        }
    });
}

#[test]
fn bodies_without_a_key_take_no_memory() {
    on_both_drivers(|driver| {
        let upstream = Upstream::echo();
        let gateway = with_keys(driver, "cores = 1", &upstream);
        let before = memory(&gateway, "VmHWM");
        let large = vec![b'z'; 8 * MIB];
        let forms = [
            format!("content-length: {}\r\n", 20 * MIB),
            format!(
                "authorization: Bearer x\r\ncontent-length: {}\r\n",
                20 * MIB
            ),
            "transfer-encoding: chunked\r\n".to_owned(),
        ];
        std::thread::scope(|scope| {
            for at in 0..60 {
                let (gateway, large, form) = (&gateway, &large, &forms[at % forms.len()]);
                scope.spawn(move || {
                    let mut client = gateway.connect();
                    client.send(&head("POST /v1/chat/completions", form));
                    if form.starts_with("transfer") {
                        client.send(b"1000000\r\n");
                    }
                    // The gateway may close before it has taken everything.
                    let _ = client.stream.write_all(large);
                    assert_eq!(client.response().status, 401);
                });
            }
        });
        let grown = memory(&gateway, "VmHWM").saturating_sub(before);
        assert!(grown < 64 * MIB, "{driver}: {grown} bytes");
    });
}

#[test]
fn bodies_in_memory_have_limits_with_names() {
    on_both_drivers(|driver| {
        let upstream = Upstream::echo();
        let limits = "cores = 1\nbody_max = \"1MiB\"\nbodies_per_key_max = \"2MiB\"\nbodies_per_core_max = \"3MiB\"";
        let gateway = with_keys(driver, limits, &upstream);
        let begin = |key: &str, headers: &str, body: &[u8]| {
            let mut client = gateway.connect();
            let line = "POST /v1/chat/completions";
            let headers = format!("authorization: Bearer sk-{key}\r\n{headers}");
            client.send(&head(line, &headers));
            client.send(body);
            client
        };
        let held = || gateway.metric("ringside_request_body_bytes");
        let length = format!("content-length: {MIB}\r\n");
        let almost = vec![b' '; MIB - 10];
        let chunk = [b"fff00\r\n", &almost[..0xfff00]].concat();
        let mut open = vec![begin("a", &length, &almost)];
        open.push(begin("a", "transfer-encoding: chunked\r\n", &chunk));
        wait_until("both bodies are there", || held() > 1.9 * MIB as f64);
        let refused = |key: &str, headers: &str, setting: &str| {
            let reply = begin(key, headers, b"").response();
            assert_eq!(reply.status, 503, "{reply:?}");
            assert_eq!(reply.error().0, "body_memory_exhausted");
            assert_eq!(reply.header("retry-after"), Some("1"));
            assert!(reply.text().contains(setting), "{reply:?}");
        };
        refused("a", &length, "server.bodies_per_key_max");
        refused(
            "a",
            &format!("{length}expect: 100-continue\r\n"),
            "server.bodies_per_key_max",
        );
        // A body of unknown length is refused once it has arrived that far.
        let mut late = begin("a", "transfer-encoding: chunked\r\n", &chunk);
        assert_eq!(late.response().status, 503);
        // Another key has its own share, until the core has no more.
        open.push(begin("b", &length, &almost));
        wait_until("the third body is there", || held() > 2.9 * MIB as f64);
        refused("b", &length, "server.bodies_per_core_max");
        // Small requests are served all the while.
        assert_eq!(
            gateway
                .connect()
                .post("/v1/chat/completions", &[KEY], &ask("small"))
                .status,
            200
        );
        drop(open);
        gateway.wait_for_metric("ringside_request_body_bytes", 0.0);
        assert!(gateway.metric("ringside_request_bodies_refused_total{limit=\"key\"}") >= 3.0);
        assert!(gateway.metric("ringside_request_bodies_refused_total{limit=\"core\"}") >= 1.0);
        let whole = request(
            "/v1/chat/completions",
            &[KEY],
            ask(&"x".repeat(MIB - 1000)).to_string().as_bytes(),
        );
        let mut client = gateway.connect();
        client.send(&whole);
        assert_eq!(client.response().status, 200);
        gateway.wait_for_metric("ringside_request_body_bytes", 0.0);
    });
}

#[test]
fn bodies_of_callers_without_keys_have_a_limit() {
    on_both_drivers(|driver| {
        let upstream = Upstream::echo();
        let gateway = Setup::new(driver, upstream.config())
            .server("cores = 1\nbody_max = \"1MiB\"\nbodies_keyless_max = \"1MiB\"")
            .start();
        let line = "POST /v1/chat/completions";
        let length = format!("content-length: {MIB}\r\n");
        let mut first = gateway.connect();
        first.send(&head(line, &length));
        first.send(&vec![b' '; MIB / 2]);
        wait_until("half a body is there", || {
            gateway.metric("ringside_request_body_bytes") >= (MIB / 2) as f64
        });
        std::thread::sleep(Duration::from_millis(10));
        let mut second = gateway.connect();
        second.send(&head(line, &length));
        let reply = second.response();
        assert_eq!(reply.status, 503);
        assert!(
            reply.text().contains("server.bodies_keyless_max"),
            "{reply:?}"
        );
    });
}
