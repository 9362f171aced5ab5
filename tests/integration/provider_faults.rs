//! What an operator can see and do when a provider cannot be used: why TLS failed, a name that moved, a target that a
//! response closed.

use crate::harness::*;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// A certificate for `name` that is valid in these years, and its key.
fn certificate(name: &str, from: i32, to: i32) -> rcgen::CertifiedKey<rcgen::KeyPair> {
    let mut params = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap();
    params.not_before = rcgen::date_time_ymd(from, 1, 2);
    params.not_after = rcgen::date_time_ymd(to, 1, 2);
    let subject = format!("{name} {from} {to}");
    params
        .distinguished_name
        .push(rcgen::DnType::CommonName, subject);
    let signing_key = rcgen::KeyPair::generate().unwrap();
    let cert = params.self_signed(&signing_key).unwrap();
    rcgen::CertifiedKey { cert, signing_key }
}

/// A server that shakes hands with this certificate, and demands one of the client if `wants_client`.
fn tls_server(made: &rcgen::CertifiedKey<rcgen::KeyPair>, wants_client: bool) -> SocketAddr {
    let chain = vec![made.cert.der().clone()];
    let key = rustls::pki_types::PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&rustls::version::TLS12])
        .unwrap();
    let builder = if wants_client {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(made.cert.der().clone()).unwrap();
        let verifier =
            rustls::server::WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
        builder.with_client_cert_verifier(verifier.build().unwrap())
    } else {
        builder.with_no_client_auth()
    };
    let settings = Arc::new(builder.with_single_cert(chain, key.into()).unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let session = rustls::ServerConnection::new(Arc::clone(&settings)).unwrap();
            let mut wire = rustls::StreamOwned::new(session, stream.unwrap());
            let _ = wire.read(&mut [0; 1024]);
        }
    });
    address
}

/// A server that answers a TLS hello with these bytes.
fn raw_server(answer: &'static [u8]) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(answer);
        }
    });
    address
}

#[test]
fn the_log_says_why_tls_failed() {
    on_both_drivers(|driver| {
        let expired = certificate("localhost", 2019, 2020);
        let early = certificate("localhost", 2190, 2199);
        let misnamed = certificate("other.example", 2019, 2199);
        let unknown = certificate("localhost", 2019, 2198);
        let picky = certificate("localhost", 2019, 2199);
        // A fatal alert of TLS 1.2: `protocol_version`.
        let old = raw_server(b"\x15\x03\x03\x00\x02\x02\x46");
        let plain = raw_server(b"HTTP/1.1 400 Bad Request\r\n\r\n");
        let cases = [
            (
                "expired",
                tls_server(&expired, false),
                "expired on 2020-01-02T00:00:00Z",
            ),
            (
                "early",
                tls_server(&early, false),
                "not valid before 2190-01-02T00:00:00Z",
            ),
            (
                "misnamed",
                tls_server(&misnamed, false),
                "not valid for name localhost, only for other.example",
            ),
            ("unknown", tls_server(&unknown, false), "unknown issuer"),
            ("picky", tls_server(&picky, true), "the peer refused"),
            ("old", old, "protocol version"),
            ("plain", plain, "does not use TLS"),
        ];
        let folder = tempfile::tempdir().unwrap();
        // The certificate of `unknown` is not among the trusted ones.
        let trusted = [&expired, &early, &misnamed, &picky].map(|made| made.cert.pem());
        std::fs::write(folder.path().join("ca.pem"), trusted.concat()).unwrap();
        let mut config = String::new();
        for (name, address, _) in &cases {
            let port = address.port();
            config.push_str(&format!(
                "[[providers]]\nname = \"{name}\"\nbase_url = \"https://localhost:{port}/v1\"\nca = \"file:ca.pem\"\n"
            ));
        }
        for (name, _, _) in &cases {
            config.push_str(&model(name, &[name]));
        }
        let gateway = Setup::new(driver, config).start_in(folder);
        for (name, _, expected) in &cases {
            let reply = gateway.chat(&with(ask("x"), "model", (*name).into()));
            assert_eq!(reply.status, 502, "{name}: {reply:?}");
            let line = gateway.wait_for_log(|line| line["model"] == *name);
            let detail = line["detail"].as_str().unwrap_or_default();
            assert!(detail.contains(expected), "{name}: {detail}");
        }
    });
}

#[test]
fn the_log_says_why_credentials_could_not_be_fetched() {
    let expired = tls_server(&certificate("localhost", 2019, 2020), false);
    let config = format!(
        "{}{}",
        provider(
            "p",
            "127.0.0.1:9",
            &format!(
                "auth = {{ kind = \"entra\", tenant = \"t\", client_id = \"c\", client_secret = \"env:PATH\", authority = \"https://localhost:{}\" }}",
                expired.port()
            )
        ),
        model("m", &["p"])
    );
    let gateway = Setup::new("epoll", config).start();
    let line = gateway.wait_for_event("credentials_not_renewed");
    let reason = line["reason"].as_str().unwrap();
    assert!(
        reason.contains("the certificate expired on 2020-01-02T00:00:00Z"),
        "{reason}"
    );
}

/// Whether tests may mount files of their own here.
fn has_mounts() -> bool {
    let made = std::process::Command::new("unshare")
        .args(["-rm", "true"])
        .status();
    let may = made.is_ok_and(|status| status.success());
    if !may {
        eprintln!("skipped: no namespaces here");
    }
    may
}

#[test]
fn a_name_that_moved_is_looked_up_when_connecting_fails() {
    if !has_mounts() {
        return;
    }
    on_both_drivers(|driver| {
        let upstream = Upstream::echo();
        let port = upstream.address.port();
        let hosts = tempfile::NamedTempFile::new().unwrap();
        let path = hosts.path().to_str().unwrap().to_owned();
        // Nothing listens at 127.0.0.2.
        std::fs::write(&path, "127.0.0.2 moved.example\n").unwrap();
        let address = format!("moved.example:{port}");
        let config = format!("{}{}", provider("p", &address, ""), model("m", &["p"]));
        let script = "mount --bind \"$0\" /etc/hosts && exec \"$@\"";
        let gateway = Setup::new(driver, config)
            .run_by(&["unshare", "-rm", "sh", "-c", script, &path])
            .start();
        assert_eq!(gateway.chat(&ask("before")).status, 502);
        std::fs::write(&path, "127.0.0.1 moved.example\n").unwrap();
        let began = Instant::now();
        wait_until("the new address is used", || {
            gateway.chat(&ask("after")).status == 200
        });
        // Without a failure it would be looked up after half a minute.
        assert!(
            began.elapsed() < Duration::from_secs(15),
            "{:?}",
            began.elapsed()
        );
    });
}

#[test]
fn an_operator_opens_a_target_that_a_response_closed() {
    on_both_drivers(|driver| {
        let limits = Arc::new(AtomicBool::new(true));
        let is_limiting = Arc::clone(&limits);
        let upstream = Upstream::start(move |seen, stream| {
            if !is_limiting.load(Ordering::SeqCst) {
                return write_json(stream, 200, &chat_response(&seen.question()));
            }
            let head = "HTTP/1.1 429 X\r\ncontent-type: application/json\r\nretry-after: 86400\r\ncontent-length: 2\r\n\r\n{}";
            stream.write_all(head.as_bytes()).is_ok()
        });
        let gateway = Setup::new(driver, upstream.config())
            .server("cores = 2\n")
            .start();
        assert_eq!(gateway.chat(&ask("limited")).status, 429);
        let closed = gateway.wait_for_event("key_cooldown");
        // An hour, not the day that the response asks for.
        assert_eq!(closed["for_ms"], 3_600_000);
        limits.store(false, Ordering::SeqCst);
        let unknown = gateway.admin("POST", "/admin/v1/targets/reset?target=up/other");
        assert_eq!(
            (unknown.status, unknown.error().0.as_str()),
            (404, "no_such_target")
        );
        let reset = gateway.admin("POST", "/admin/v1/targets/reset?target=up%2Fm-at-up");
        assert_eq!(reset.status, 200, "{reset:?}");
        assert_eq!(
            reset.json(),
            serde_json::json!({ "targets": 1, "cores": 2 })
        );
        for at in 0..4 {
            assert_eq!(gateway.chat(&ask(&format!("open {at}"))).status, 200);
        }
        gateway.wait_for_event("targets_reset");
    });
}

#[test]
fn an_operator_opens_targets_that_failures_closed() {
    let fails = Arc::new(AtomicBool::new(true));
    let is_failing = Arc::clone(&fails);
    let upstream = Upstream::start(move |seen, stream| {
        let status = if is_failing.load(Ordering::SeqCst) {
            503
        } else {
            200
        };
        write_json(stream, status, &chat_response(&seen.question()))
    });
    let gateway = Setup::new("epoll", upstream.config())
        .server("cores = 1\n")
        .start();
    let phase = "ringside_target_phase_cores{target=\"up/m-at-up\",phase=";
    for at in 0..20 {
        gateway.chat(&ask(&format!("failing {at}")));
    }
    let open = gateway.metric(&format!("{phase}\"healthy\"}}"));
    assert!(open < 1.0, "five failures in a row open it");
    fails.store(false, Ordering::SeqCst);
    assert_eq!(gateway.admin("POST", "/admin/v1/targets/reset").status, 200);
    gateway.wait_for_metric(&format!("{phase}\"healthy\"}}"), 1.0);
    assert_eq!(gateway.chat(&ask("open")).status, 200);
}
