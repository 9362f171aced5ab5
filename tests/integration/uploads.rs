//! Bodies that are forwarded while they arrive: complete, in order, in bounded memory, and ended by either side.

use crate::harness::*;
use serde_json::json;
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

const MIB: usize = 1024 * 1024;
/// What the process may grow by while 64 MiB pass: the kernel's and the gateway's buffers of two sockets.
const GROWTH_MAX: usize = 24 * MIB;

/// Bytes that differ by position.
fn bytes(length: usize) -> Vec<u8> {
    let mixed = |at: usize| (at.wrapping_mul(0x9e37_79b9) >> 13) as u8;
    (0..length).map(mixed).collect()
}

fn head(path: &str, length: usize, more: &str) -> Vec<u8> {
    format!(
        "POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: x/y\r\n{more}content-length: {length}\r\n\r\n"
    )
    .into_bytes()
}

/// A gateway before the provider `up` at `address`.
fn start(driver: &str, address: &str, server: &str) -> Gateway {
    let server = format!("body_max = \"64MiB\"\n{server}");
    let config = provider("up", address, "") + &model("m", &["up"]);
    Setup::new(driver, config).server(&server).start()
}

/// The most memory that the process ever had, in bytes.
fn peak(gateway: &Gateway) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{}/status", gateway.child.id())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    let kib: usize = line
        .unwrap()
        .split_whitespace()
        .nth(1)
        .unwrap()
        .parse()
        .unwrap();
    kib * 1024
}

/// Responds with the length of the body.
fn counting() -> Upstream {
    Upstream::start(|seen, stream| {
        write_json(stream, 200, &json!({ "bytes": seen.message.body.len() }))
    })
}

#[test]
fn sixty_four_mebibytes_pass_in_little_memory_and_the_connection_goes_on() {
    on_both_drivers(|driver| {
        let upstream = counting();
        let gateway = start(driver, &upstream.address.to_string(), "");
        let address = upstream.address.to_string();
        for path in ["/v1/files", "/providers/up/things?x=1"] {
            assert_eq!(gateway.post(path, &json!({})).status, 200);
            let body = bytes(64 * MIB);
            let before = peak(&gateway);
            let mut client = gateway.connect();
            let wanted = head(path, body.len(), "expect: 100-continue\r\n");
            client.send(&wanted);
            client.read_until("100 Continue\r\n\r\n");
            client.unread.clear();
            client.send(&body);
            // What follows on the same connection is not taken for a part of it.
            client.send(&head("/v1/files", 2, ""));
            client.send(b"{}");
            let reply = client.response();
            assert_eq!(
                (reply.status, reply.json()["bytes"].as_u64()),
                (200, Some(64 << 20))
            );
            assert_eq!(reply.header("connection"), None);
            let seen = upstream
                .seen
                .lock()
                .unwrap()
                .iter()
                .rev()
                .find(|one| one.message.body.len() > 2)
                .cloned()
                .unwrap();
            assert!(seen.message.body == body, "{path}: the bytes differ");
            assert_eq!(seen.header("content-length"), Some("67108864"));
            assert_eq!(
                (seen.header("expect"), seen.header("host")),
                (None, Some(address.as_str()))
            );
            assert_eq!(client.response().json()["bytes"], 2);
            let growth = peak(&gateway).saturating_sub(before);
            assert!(growth < GROWTH_MAX, "{path}: {growth} bytes");
        }
    });
}

/// A provider that gives each connection to `serve`.
fn raw(serve: impl Fn(TcpStream) + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let serve = Arc::new(serve);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (serve, stream) = (Arc::clone(&serve), stream.unwrap());
            stream.set_read_timeout(Some(TEST_TIMEOUT)).unwrap();
            std::thread::spawn(move || serve(stream));
        }
    });
    address
}

/// Reads until the end of a request's head.
fn read_head(stream: &mut TcpStream) {
    let (mut seen, mut byte) = (Vec::new(), [0]);
    while !seen.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).unwrap();
        seen.push(byte[0]);
    }
}

#[test]
fn a_provider_that_does_not_read_holds_the_client_and_fills_no_memory() {
    on_both_drivers(|driver| {
        let go = Arc::new(AtomicBool::new(false));
        let goes = Arc::clone(&go);
        let address = raw(move |mut stream| {
            read_head(&mut stream);
            while !goes.load(Ordering::SeqCst) {
                std::thread::sleep(Duration::from_millis(5));
            }
            let mut left = 64 * MIB;
            let mut piece = vec![0; MIB];
            while left > 0 {
                left -= stream.read(&mut piece).unwrap();
            }
            write_json(&mut stream, 200, &json!({ "all": true }));
        });
        let gateway = start(driver, &address, "");
        let before = peak(&gateway);
        let mut client = gateway.connect();
        client.send(&head("/v1/files", 64 * MIB, ""));
        let piece = bytes(MIB);
        let mut sent = 0;
        client
            .stream
            .set_write_timeout(Some(Duration::from_secs(1)))
            .unwrap();
        while sent < 64 * MIB {
            match client.stream.write(&piece[sent % MIB..]) {
                Ok(count) => sent += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => panic!("{error}"),
            }
        }
        assert!(sent < 48 * MIB, "{sent} bytes went where nobody read");
        let growth = peak(&gateway).saturating_sub(before);
        assert!(growth < GROWTH_MAX, "{growth} bytes");
        go.store(true, Ordering::SeqCst);
        client.stream.set_write_timeout(Some(TEST_TIMEOUT)).unwrap();
        while sent < 64 * MIB {
            sent += client.stream.write(&piece[sent % MIB..]).unwrap();
        }
        assert_eq!(client.response().json()["all"], true);
    });
}

#[test]
fn a_client_that_hangs_up_in_an_upload_ends_the_call_at_the_provider() {
    on_both_drivers(|driver| {
        let (begun, began) = mpsc::channel();
        let (ended, end) = mpsc::channel();
        let address = raw(move |mut stream| {
            read_head(&mut stream);
            begun.send(()).unwrap();
            let mut rest = Vec::new();
            let outcome = stream
                .read_to_end(&mut rest)
                .map(|_| ())
                .map_err(|error| error.kind());
            ended.send((rest.len(), outcome)).unwrap();
        });
        let gateway = start(driver, &address, "");
        let mut client = gateway.connect();
        client.send(&head("/providers/up/x", 8 * MIB, ""));
        client.send(&bytes(MIB));
        began.recv_timeout(TEST_TIMEOUT).unwrap();
        drop(client);
        let (count, outcome) = end.recv_timeout(TEST_TIMEOUT).unwrap();
        // Closed or reset before the end, so the provider cannot take it for complete.
        assert!(
            outcome.is_ok() || outcome == Err(ErrorKind::ConnectionReset),
            "{outcome:?}"
        );
        assert!(count <= MIB, "{count}");
        let log = gateway.wait_for_log(|line| line["operation"] == "provider_proxy");
        assert_eq!(
            (&log["status"], &log["error_code"]),
            (&json!(499), &json!("client_disconnected"))
        );
        gateway.wait_for_metric("ringside_connections", 0.0);
    });
}

#[test]
fn a_refusal_before_the_end_of_an_upload_reaches_the_client_at_once() {
    on_both_drivers(|driver| {
        for closes in [false, true] {
            let address = raw(move |mut stream| {
                read_head(&mut stream);
                let interim = b"HTTP/1.1 102 Processing\r\n\r\n";
                stream.write_all(interim).unwrap();
                write_json(&mut stream, 413, &json!({"error": {"message": "too much"}}));
                if !closes {
                    // Reads nothing, and keeps the connection.
                    std::thread::sleep(TEST_TIMEOUT);
                }
            });
            let gateway = start(driver, &address, "");
            let mut client = gateway.connect();
            client.send(&head("/v1/files", 64 * MIB, ""));
            client.send(&bytes(1000));
            let reply = client.response();
            assert_eq!(reply.status, 413, "{reply:?}");
            assert_eq!(reply.json()["error"]["message"], "too much");
            // The rest of the body will not be read, so nothing behind it can be.
            assert_eq!(reply.header("connection"), Some("close"));
            assert!(client.is_closed());
        }
    });
}

#[test]
fn a_provider_that_breaks_off_is_reported() {
    on_both_drivers(|driver| {
        let address = raw(|mut stream| read_head(&mut stream));
        let gateway = start(driver, &address, "");
        let mut client = gateway.connect();
        client.send(&head("/v1/files", 64 * MIB, ""));
        client.send(&bytes(1000));
        let reply = client.response();
        assert_eq!(
            (reply.status, reply.error().0),
            (502, "upstream_connection_closed".into())
        );
    });
}

#[test]
fn no_body_is_requested_that_could_not_be_forwarded() {
    on_both_drivers(|driver| {
        // Nobody listens there.
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        drop(listener);
        let gateway = start(driver, &address, "");
        let mut client = gateway.connect();
        let waits = "expect: 100-continue\r\n";
        client.send(&head("/v1/files", MIB, waits));
        let reply = client.response();
        // Not 100 first: the client may send the same elsewhere.
        assert_eq!(
            (reply.status, reply.error().0),
            (502, "upstream_unreachable".into())
        );
        let mut client = gateway.connect();
        client.send(&head("/v1/files", 64 * MIB + 1, waits));
        let reply = client.response();
        assert_eq!(
            (reply.status, reply.error().0),
            (413, "body_too_large".into())
        );
        let mut client = gateway.connect();
        client.send(&head("/providers/none/x", MIB, waits));
        let reply = client.response();
        assert_eq!(
            (reply.status, reply.header("connection")),
            (403, Some("close"))
        );
    });
}

#[test]
fn a_body_that_does_not_come_is_not_waited_for() {
    on_both_drivers(|driver| {
        let upstream = counting();
        let address = upstream.address.to_string();
        let gateway = start(driver, &address, "body_timeout = \"300ms\"\n");
        let mut client = gateway.connect();
        client.send(&head("/v1/files", MIB, ""));
        client.send(&bytes(1000));
        let reply = client.response();
        assert_eq!(
            (reply.status, reply.error().0),
            (408, "request_timeout".into())
        );
        assert_eq!(upstream.count(), 0);
        wait_until("the provider's connection to end", || {
            upstream.closed.load(Ordering::SeqCst) == 1
        });
    });
}
