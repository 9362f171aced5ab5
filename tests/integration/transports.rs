//! Ways in and out: TLS on both sides, Unix sockets, several listeners, no delay on the wire.

use crate::harness::*;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Writes a self-signed certificate for 127.0.0.1 and its key.
fn write_certificate(folder: &Path) {
    let made =
        rcgen::generate_simple_self_signed(vec!["127.0.0.1".into(), "localhost".into()]).unwrap();
    std::fs::write(folder.join("cert.pem"), made.cert.pem()).unwrap();
    std::fs::write(folder.join("key.pem"), made.signing_key.serialize_pem()).unwrap();
}

const TLS: &str = "cores = 2\n[server.tls]\ncert = \"file:cert.pem\"\nkey = \"file:key.pem\"\n";

fn tls_gateway(driver: &str, upstream: &Upstream) -> Gateway {
    let folder = tempfile::tempdir().unwrap();
    write_certificate(folder.path());
    Setup::new(driver, upstream.config())
        .server(TLS)
        .start_in(folder)
}

/// A gateway whose provider is `inner`, behind TLS.
fn before_tls(driver: &str, inner: &Gateway) -> Gateway {
    let folder = tempfile::tempdir().unwrap();
    std::fs::copy(
        inner.folder.path().join("cert.pem"),
        folder.path().join("ca.pem"),
    )
    .unwrap();
    let config = format!(
        "[[providers]]\nname = \"inner\"\nbase_url = \"https://{}/v1\"\nca = \"file:ca.pem\"\n{}",
        inner.address,
        model("m", &["inner"]).replace("m-at-inner", "m")
    );
    Setup::new(driver, config).start_in(folder)
}

#[test]
fn an_upload_crosses_tls_on_both_sides_while_it_arrives() {
    on_both_drivers(|driver| {
        let upstream = Upstream::start(|_, stream| write_json(stream, 200, &serde_json::json!({})));
        let inner = tls_gateway(driver, &upstream);
        let outer = before_tls(driver, &inner);
        let body: Vec<u8> = (0..12_u32 << 20).map(|at| (at / 7) as u8).collect();
        let mut client = outer.connect();
        client.send(&request("/v1/files", &[], &body));
        assert_eq!(client.response().status, 200);
        assert!(upstream.last().message.body == body, "the bytes differ");
    });
}

#[test]
fn tls_to_the_client_and_to_the_provider() {
    on_both_drivers(|driver| {
        let upstream = Upstream::echo();
        let inner = tls_gateway(driver, &upstream);
        let outer = before_tls(driver, &inner);
        for at in 0..20 {
            let streams = at % 2 == 0;
            let question = format!("{at} {}", "long ".repeat(at * 700));
            let reply = outer.chat(&with(ask(&question), "stream", streams.into()));
            assert_eq!(reply.status, 200, "{at}: {reply:?}");
            assert_eq!(
                reply.content().trim_end(),
                format!("answer to: {question}").trim_end()
            );
        }
        assert!(outer.metric("ringside_upstream_reuses_total") >= 18.0);
    });
}

#[test]
fn a_provider_that_is_not_trusted_is_refused() {
    on_both_drivers(|driver| {
        let upstream = Upstream::echo();
        let inner = tls_gateway(driver, &upstream);
        let folder = tempfile::tempdir().unwrap();
        let other = tempfile::tempdir().unwrap();
        write_certificate(other.path());
        std::fs::copy(other.path().join("cert.pem"), folder.path().join("ca.pem")).unwrap();
        let config = format!(
            "[[providers]]\nname = \"inner\"\nbase_url = \"https://{}/v1\"\nca = \"file:ca.pem\"\n[[providers]]\nname = \"plain\"\nbase_url = \"https://{}/v1\"\nca = \"file:ca.pem\"\n{}{}",
            inner.address,
            upstream.address,
            model("m", &["inner"]),
            model("p", &["plain"]),
        );
        let outer = Setup::new(driver, config).start_in(folder);
        for name in ["m", "p"] {
            let reply = outer.chat(&with(ask("q"), "model", name.into()));
            assert_eq!(
                (reply.status, reply.error().0.as_str()),
                (502, "upstream_tls"),
                "{reply:?}"
            );
        }
        assert_eq!(upstream.count(), 0);
    });
}

type TlsStream = rustls::StreamOwned<rustls::ClientConnection, TcpStream>;

/// Client settings that trust the certificate in the gateway's folder, and no other.
fn trusting(gateway: &Gateway) -> Arc<rustls::ClientConfig> {
    let pem = std::fs::read(gateway.folder.path().join("cert.pem")).unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(&pem).unwrap())
        .unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    Arc::new(config)
}

fn tls_connect(gateway: &Gateway, config: &Arc<rustls::ClientConfig>) -> TlsStream {
    let name = ServerName::try_from("127.0.0.1").unwrap();
    let session = rustls::ClientConnection::new(Arc::clone(config), name).unwrap();
    let socket = TcpStream::connect(&gateway.address).unwrap();
    socket.set_read_timeout(Some(TEST_TIMEOUT)).unwrap();
    rustls::StreamOwned::new(session, socket)
}

/// One chat request on `stream`, which stays open; the error is that of the TLS handshake.
fn chat_over_tls(stream: &mut TlsStream) -> std::io::Result<()> {
    let body = ask("over tls").to_string();
    stream.write_all(&request(
        "/v1/chat/completions",
        &[("connection", "keep-alive")],
        body.as_bytes(),
    ))?;
    let mut response = Vec::new();
    while !String::from_utf8_lossy(&response).contains("over tls") {
        let mut piece = [0; 4096];
        let count = stream.read(&mut piece)?;
        assert!(count > 0);
        response.extend_from_slice(&piece[..count]);
    }
    Ok(())
}

#[test]
fn a_renewed_server_certificate_is_presented_to_new_connections_after_a_reload() {
    on_both_drivers(|driver| {
        let upstream = Upstream::echo();
        let gateway = tls_gateway(driver, &upstream);
        let before = trusting(&gateway);
        let mut open = tls_connect(&gateway, &before);
        chat_over_tls(&mut open).unwrap();

        write_certificate(gateway.folder.path());
        let after = trusting(&gateway);
        gateway.signal(nix::sys::signal::Signal::SIGHUP);
        let event = gateway.wait_for_event("reloaded");
        assert_eq!(event["needs_restart"], serde_json::json!([]), "{event}");
        chat_over_tls(&mut tls_connect(&gateway, &after)).unwrap();
        // A client that trusts the old certificate alone.
        let mut refused = tls_connect(&gateway, &without_resumption(&before));
        assert!(chat_over_tls(&mut refused).is_err());
        chat_over_tls(&mut open).unwrap();
    });
}

/// `config` without memory of earlier sessions.
fn without_resumption(config: &rustls::ClientConfig) -> Arc<rustls::ClientConfig> {
    let mut config = config.clone();
    config.resumption = rustls::client::Resumption::disabled();
    Arc::new(config)
}

#[test]
fn a_server_certificate_that_does_not_fit_its_key_is_refused_and_the_old_one_stays() {
    on_both_drivers(|driver| {
        let upstream = Upstream::echo();
        let gateway = tls_gateway(driver, &upstream);
        let config = without_resumption(&trusting(&gateway));
        let other = tempfile::tempdir().unwrap();
        write_certificate(other.path());
        let file = "key.pem";
        std::fs::copy(other.path().join(file), gateway.folder.path().join(file)).unwrap();
        gateway.signal(nix::sys::signal::Signal::SIGHUP);
        let event = gateway.wait_for_event("reload_refused");
        let reason = event["reason"].as_str().unwrap();
        assert!(reason.contains("server.tls"), "{reason}");
        chat_over_tls(&mut tls_connect(&gateway, &config)).unwrap();
    });
}

#[test]
fn a_session_taken_on_one_core_resumes_on_another() {
    on_both_drivers(|driver| {
        let upstream = Upstream::echo();
        let gateway = tls_gateway(driver, &upstream);
        let config = trusting(&gateway);
        let mut open = Vec::new();
        for round in 0..4 {
            let mut stream = tls_connect(&gateway, &config);
            chat_over_tls(&mut stream).unwrap();
            let expected = if round == 0 {
                rustls::HandshakeKind::Full
            } else {
                rustls::HandshakeKind::Resumed
            };
            assert_eq!(
                stream.conn.handshake_kind(),
                Some(expected),
                "round {round}"
            );
            // Kept open, so that the next connection goes to the other core.
            open.push(stream);
        }
    });
}

#[test]
fn a_connection_without_tls_is_dropped_and_a_silent_client_holds_nothing_up() {
    let upstream = Upstream::echo();
    let gateway = tls_gateway("io_uring", &upstream);
    let _silent = TcpStream::connect(&gateway.address).unwrap();
    let mut plain = gateway.connect();
    plain.send(b"GET /v1/models HTTP/1.1\r\nhost: localhost\r\n\r\n");
    assert!(plain.is_closed());
    gateway.wait_for_metric(
        "ringside_connections_refused_total{reason=\"tls_handshake\"}",
        1.0,
    );
}

#[test]
fn unix_sockets_and_several_listeners() {
    on_both_drivers(|driver| {
        let upstream = Upstream::echo();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ringside.sock");
        // A socket left behind by a process that is gone.
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        let listen = format!("listen = [\"127.0.0.1:0\", \"unix:{}\"]\n", path.display());
        let mut gateway = Setup::new(driver, upstream.config())
            .server(&listen)
            .start_in(folder);
        assert_eq!(gateway.chat(&ask("tcp")).status, 200);
        let mut stream = UnixStream::connect(&path).unwrap();
        stream.set_read_timeout(Some(TEST_TIMEOUT)).unwrap();
        let body = ask("unix").to_string();
        stream
            .write_all(&request(
                "/v1/chat/completions",
                &[("connection", "close")],
                body.as_bytes(),
            ))
            .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(
            answer.starts_with("HTTP/1.1 200") && answer.contains("answer to: unix"),
            "{answer}"
        );
        gateway.signal(nix::sys::signal::Signal::SIGTERM);
        gateway.wait_for_exit();
        assert!(!path.exists(), "the socket's file is left behind");
    });
}

#[test]
fn small_writes_are_not_delayed() {
    // With Nagle's algorithm on, each second small write would wait for a delayed acknowledgement:
    // 40 ms on Linux. A hundred events would then take seconds.
    on_both_drivers(|driver| {
        let upstream = Upstream::start(|_, stream| {
            let mut ok = stream.write_all(stream_head()).is_ok();
            for _ in 0..100 {
                ok = ok && stream.write_all(&chunk(&delta("w"))).is_ok();
                std::thread::sleep(Duration::from_millis(1));
            }
            ok && stream.write_all(&chunk(&stream_end())).is_ok()
                && stream.write_all(b"0\r\n\r\n").is_ok()
        });
        let gateway = Setup::new(driver, upstream.config()).start();
        let began = Instant::now();
        assert_eq!(gateway.chat(&ask_stream("x")).content().len(), 100);
        assert!(
            began.elapsed() < Duration::from_secs(2),
            "{:?}",
            began.elapsed()
        );
    });
}
