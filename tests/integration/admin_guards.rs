//! The admin API answers probes whoever else connects, and takes no request that a browser sends for a foreign page;
//! neither does a gateway without keys.

use crate::harness::*;
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// Sends a request with these headers to `address`.
fn call(address: &str, line: &str, headers: &[(&str, &str)]) -> Response {
    let mut client = Client::connect(address);
    let mut text = format!("{line} HTTP/1.1\r\n");
    for (name, value) in headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    text.push_str("content-length: 0\r\n\r\n");
    client.send(text.as_bytes());
    client.response()
}

const ADMIN_REQUESTS: [&str; 9] = [
    "GET /livez",
    "GET /readyz",
    "GET /metrics",
    "GET /admin/v1/info",
    "POST /admin/v1/explain",
    "POST /admin/v1/experiments/reset",
    "DELETE /admin/v1/cache",
    "POST /admin/v1/cache/entries/0123456789abcdef0123456789abcdef/wrong",
    "GET /nothing",
];

#[test]
fn the_admin_api_refuses_names_that_were_rebound_and_foreign_pages() {
    let upstream = Upstream::echo();
    let config = upstream.config();
    let config = format!("hosts = [\"ringside-admin\"]\n{config}");
    let gateway = Setup::new("epoll", config).start();
    let port = gateway.admin.rsplit(':').next().unwrap();
    let own = format!("127.0.0.1:{port}");
    for line in ADMIN_REQUESTS {
        for host in ["evil.example", &format!("evil.example:{port}")] {
            let refused = call(&gateway.admin, line, &[("host", host)]);
            assert_eq!(refused.status, 403, "{line}");
            assert_eq!(refused.error().0, "host_not_allowed");
            assert!(refused.error().1.contains("admin.hosts"));
        }
        let page = format!("http://evil.example:{port}");
        let foreign = [
            ("origin", "http://evil.example"),
            ("origin", page.as_str()),
            ("origin", "http://127.0.0.1:1"),
            ("origin", "null"),
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-site", "same-site"),
        ];
        for header in foreign {
            let refused = call(&gateway.admin, line, &[("host", &own), header]);
            assert_eq!(refused.status, 403, "{line} {header:?}");
            assert_eq!(refused.error().0, "origin_not_allowed");
        }
        let own_page = format!("http://{own}");
        let allowed: [&[(&str, &str)]; 4] = [
            &[
                ("host", &own),
                ("origin", &own_page),
                ("sec-fetch-site", "same-origin"),
            ],
            &[("host", "localhost")],
            &[("host", "[::1]:1")],
            &[("host", "ringside-admin:80")],
        ];
        for headers in allowed {
            let answer = call(&gateway.admin, line, headers);
            assert_ne!(answer.status, 403, "{line} {headers:?}");
        }
    }
    let both = [("host", own.as_str()), ("host", "evil.example")];
    assert!(call(&gateway.admin, "GET /metrics", &both).status >= 400);
    let line = "GET http://evil.example/metrics";
    assert_eq!(call(&gateway.admin, line, &[("host", &own)]).status, 403);
}

#[test]
fn a_gateway_without_keys_serves_this_machine_and_no_foreign_page() {
    on_both_drivers(|driver| {
        let upstream = Upstream::echo();
        let gateway = Setup::new(driver, upstream.config())
            .server("hosts = [\"gateway.test\"]\n")
            .start();
        let paths = [
            "/v1/chat/completions",
            "/v1/models",
            "/v1/messages",
            "/nothing",
        ];
        let own = ("host", gateway.address.as_str());
        for path in paths {
            let method = if path == "/v1/models" { "GET" } else { "POST" };
            let send = |headers: &[(&str, &str)]| {
                call(&gateway.address, &format!("{method} {path}"), headers)
            };
            let is_known = path != "/nothing";
            let rebound = send(&[("host", "evil.example")]);
            assert_eq!(rebound.status == 403, is_known, "{path}");
            let foreign = [
                ("origin", "http://evil.example"),
                ("origin", "null"),
                ("sec-fetch-site", "cross-site"),
            ];
            for header in foreign {
                assert_eq!(
                    send(&[own, header]).status == 403,
                    is_known,
                    "{path} {header:?}"
                );
            }
            let allowed: [&[(&str, &str)]; 5] = [
                &[own],
                &[("host", "localhost:8080")],
                &[("host", "gateway.test")],
                &[
                    own,
                    ("origin", "http://localhost:3000"),
                    ("sec-fetch-site", "cross-site"),
                ],
                &[own, ("origin", "vscode-webview://x")],
            ];
            for headers in allowed {
                assert_ne!(send(headers).status, 403, "{path} {headers:?}");
            }
        }
    });
}

#[test]
fn with_keys_the_key_decides() {
    let upstream = Upstream::echo();
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("secret"), "sk-a").unwrap();
    let config = upstream.config();
    let config = format!("{config}[[keys]]\nname = \"a\"\nsecret = \"file:secret\"\n");
    let gateway = Setup::new("epoll", config).start_in(folder);
    let headers = [
        ("host", "gateway.example"),
        ("origin", "http://app.example"),
        ("authorization", "Bearer sk-a"),
    ];
    assert_eq!(
        call(&gateway.address, "GET /v1/models", &headers).status,
        200
    );
}

#[test]
fn a_parameter_that_occurs_twice_or_is_unknown_is_refused() {
    let upstream = Upstream::echo();
    let gateway = Setup::new("epoll", upstream.config()).start();
    for line in ADMIN_REQUESTS {
        let refused = call(
            &gateway.admin,
            &format!("{line}?x=1&x=2"),
            &[("host", "localhost")],
        );
        assert_eq!(
            (refused.status, refused.error().0.as_str()),
            (400, "invalid_query")
        );
    }
    for query in [
        "model=a&model=b",
        "key=a&model=m&key=b",
        "model=a&mode%6c=b",
        "modle=a",
    ] {
        let path = format!("/admin/v1/cache?{query}");
        assert_eq!(gateway.admin("DELETE", &path).status, 400, "{query}");
        let path = format!("/admin/v1/experiments/reset?{query}");
        assert_eq!(gateway.admin("POST", &path).status, 400, "{query}");
    }
    assert_eq!(
        gateway
            .admin("DELETE", "/admin/v1/cache?model=m&key=a")
            .status,
        200
    );
    // Senders of probes add parameters of their own.
    assert_eq!(gateway.admin("GET", "/livez?verbose").status, 200);
}

/// Longest answer to a probe; the control plane waits for nobody, so this allows for a busy machine only.
const PROBE_WITHIN: Duration = Duration::from_secs(5);

fn probes_answer(gateway: &Gateway) {
    for path in ["/livez", "/readyz", "/metrics"] {
        let began = Instant::now();
        assert_eq!(gateway.admin("GET", path).status, 200, "{path}");
        let took = began.elapsed();
        eprintln!("{path}: {took:?}");
        assert!(took < PROBE_WITHIN, "{path}: {took:?}");
    }
}

#[test]
fn silent_connections_do_not_keep_probes_out() {
    let upstream = Upstream::echo();
    let gateway = Setup::new("epoll", upstream.config()).start();
    let mut held = Vec::new();
    for half in ["", "GET /livez HTTP/1.1\r\nhost: localhost\r\n"] {
        for _ in 0..100 {
            let mut client = Client::connect(&gateway.admin);
            client.send(half.as_bytes());
            held.push(client);
        }
        probes_answer(&gateway);
    }
    // A body that does not come holds its connection busy.
    for _ in 0..100 {
        let mut client = Client::connect(&gateway.admin);
        client.send(
            b"POST /admin/v1/explain HTTP/1.1\r\nhost: localhost\r\ncontent-length: 9\r\n\r\n",
        );
        held.push(client);
    }
    probes_answer(&gateway);
    // Nor does a client that reads no answers.
    for _ in 0..100 {
        let mut client = Client::connect(&gateway.admin);
        client.send(&b"GET /metrics HTTP/1.1\r\nhost: localhost\r\n\r\n".repeat(20));
        held.push(client);
    }
    probes_answer(&gateway);
}

#[test]
fn clients_that_use_all_descriptors_leave_some_for_probes_and_providers() {
    on_both_drivers(|driver| {
        let upstream = Upstream::echo();
        let gateway = Setup::new(driver, upstream.config())
            .server("cores = 1\n")
            .run_by(&["prlimit", "--nofile=64:64"])
            .start();
        let mut first = gateway.connect();
        assert_eq!(
            first.post("/v1/chat/completions", &[], &ask("one")).status,
            200
        );
        let idle: Vec<TcpStream> = (0..150)
            .map(|_| TcpStream::connect(&gateway.address).unwrap())
            .collect();
        wait_until("refused", || {
            gateway.metric("ringside_connections_over_limit_total") > 0.0
        });
        probes_answer(&gateway);
        // Who is connected is served, over new connections to the provider too.
        assert_eq!(
            first.post("/v1/chat/completions", &[], &ask("two")).status,
            200
        );
        // Silent connections to the admin API use up its part, and give way.
        let silent: Vec<TcpStream> = (0..100)
            .map(|_| TcpStream::connect(&gateway.admin).unwrap())
            .collect();
        probes_answer(&gateway);
        drop((idle, silent));
        wait_until("served again", || gateway.chat(&ask("three")).status == 200);
    });
}
