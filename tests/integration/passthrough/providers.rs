//! Files, batches and `/providers/{name}/…`: requests to one provider that a key may use.

use super::*;
use std::io::Write;

/// Two keys, two providers; the first key may reach the first provider.
fn keyed(first: &Upstream, second: &Upstream, server: &'static str, driver: &str) -> Gateway {
    let config = format!(
        "{}{}{}[[keys]]\nname = \"a\"\nsecret = \"file:a\"\nmodels = [\"m\"]\nproviders = [\"one\"]\n[[keys]]\nname = \"b\"\nsecret = \"file:b\"\n[[keys]]\nname = \"c\"\nsecret = \"file:c\"\nproviders = [\"one\", \"two\"]\n[[keys]]\nname = \"d\"\nsecret = \"file:d\"\nproviders = [\"one\", \"two\"]\nregions = [\"eu\"]\n",
        provider(
            "one",
            &first.address.to_string(),
            "api_keys = [\"file:one\"]"
        ),
        provider("two", &second.address.to_string(), "region = \"eu\""),
        model("m", &["one"]) + &model("n", &["one"]),
    );
    let folder = tempfile::tempdir().unwrap();
    for name in ["a", "b", "c", "d", "one"] {
        std::fs::write(folder.path().join(name), format!("secret-{name}")).unwrap();
    }
    Setup::new(driver, uncached(&config))
        .server(server)
        .start_in(folder)
}

#[test]
fn files_and_batches_are_reached_only_by_keys_with_permission() {
    on_both_drivers(|driver| {
        let (one, two) = (mirror(), mirror());
        let gateway = keyed(&one, &two, "body_max = \"64KiB\"", driver);
        let ask = |key: &str, more: &str| {
            let headers = format!("authorization: Bearer secret-{key}\r\n{more}");
            send(&gateway, "POST /v1/files?x=1", &headers, b"abc")
        };
        let reported = |reply: &Response| (reply.status, reply.error().0);
        let reply = ask("a", "");
        assert_eq!(reply.json()["line"], "POST /v1/files?x=1 HTTP/1.1");
        assert_eq!(reply.header("x-ringside-target"), Some("one/*"));
        assert_eq!(
            one.last().header("authorization"),
            Some("Bearer secret-one")
        );
        assert_eq!(
            reported(&ask("b", "")),
            (403, "provider_not_allowed".into())
        );
        let several = ask("c", "");
        assert_eq!(reported(&several), (400, "provider_missing".into()));
        assert!(several.error().1.contains("one, two"));
        // The key's regions leave one provider.
        assert_eq!(ask("d", "").header("x-ringside-target"), Some("two/*"));
        assert_eq!(
            ask("c", "x-ringside-provider: two\r\n").header("x-ringside-target"),
            Some("two/*")
        );
        for (key, name) in [("a", "two"), ("a", "none"), ("d", "one")] {
            let reply = ask(key, &format!("x-ringside-provider: {name}\r\n"));
            assert_eq!(
                reported(&reply),
                (403, "provider_not_allowed".into()),
                "{key} {name}"
            );
        }
        // A key may not use other models on passthrough endpoints either.
        let moderation = send(
            &gateway,
            "POST /v1/moderations",
            "authorization: Bearer secret-a\r\n",
            b"{\"model\":\"n\"}",
        );
        assert_eq!(reported(&moderation), (403, "model_not_allowed".into()));
        let large = vec![b'x'; 70_000];
        let headers = "authorization: Bearer secret-a\r\n";
        let reply = send(&gateway, "POST /v1/files", headers, &large);
        assert_eq!(reply.status, 413);
        assert!(reply.error().1.contains("server.body_max"));
        let nobody = send(&gateway, "POST /v1/files", "", b"abc");
        assert_eq!(nobody.status, 401);
    });
}

/// Headers of which only the last two lines and `openai-beta` are forwarded.
const RAW_HEADERS: &str = "authorization: Bearer secret-a\r\nx-api-key: secret-a\r\ncookie: s=1\r\nx-ringside-x: 1\r\nx-forwarded-for: 10.0.0.1\r\nconnection: keep-alive, x-hop\r\nx-hop: 1\r\nopenai-beta: assistants=v2\r\nx-own: 2\r\ncontent-type: application/x-own\r\n";

#[test]
fn a_proxied_request_reaches_its_provider_unchanged() {
    on_both_drivers(|driver| {
        let (one, two) = (mirror(), mirror());
        let gateway = keyed(&one, &two, "", driver);
        let headers = RAW_HEADERS;
        let body = sound();
        for method in ["GET", "POST", "PUT", "PATCH", "DELETE"] {
            let head = format!("{method} /providers/one/own%2Fthing/a.b?q=%20a&r=../x");
            let reply = send(
                &gateway,
                &head,
                headers,
                if method == "GET" { b"" } else { &body },
            );
            assert_eq!(reply.status, 200, "{method}: {reply:?}");
            let seen = one.last();
            assert_eq!(
                seen.line,
                format!("{method} /v1/own%2Fthing/a.b?q=%20a&r=../x HTTP/1.1")
            );
            assert_eq!(
                seen.message.body,
                if method == "GET" {
                    vec![]
                } else {
                    body.clone()
                }
            );
            assert_eq!(seen.header("authorization"), Some("Bearer secret-one"));
            for name in [
                "x-api-key",
                "cookie",
                "x-ringside-x",
                "x-forwarded-for",
                "x-hop",
                "connection",
            ] {
                assert_eq!(seen.header(name), None, "{name}");
            }
            assert_eq!(seen.header("openai-beta"), Some("assistants=v2"));
            assert_eq!(seen.header("x-own"), Some("2"));
            assert_eq!(seen.header("content-type"), Some("application/x-own"));
            assert_eq!(seen.header("host"), Some(one.address.to_string().as_str()));
            assert_eq!(reply.header("x-ringside-upstream-request-id"), Some("up-1"));
        }
        let log = gateway.wait_for_log(|line| line["operation"] == "provider_proxy");
        assert_eq!(
            (&log["key"], &log["model"], &log["input_tokens"]),
            (&json!("a"), &json!("one/*"), &json!(7))
        );
        assert_eq!(two.count(), 0);
    });
}

#[test]
fn no_path_method_or_name_leads_elsewhere() {
    on_both_drivers(|driver| {
        let (one, two) = (mirror(), mirror());
        let gateway = keyed(&one, &two, "", driver);
        let headers = RAW_HEADERS;
        for path in [
            "/../x",
            "/%2e%2e/x",
            "/a/%2E%2e%2fx",
            "//evil.example/x",
            "/a%5c..%5cx",
            "/%252e%252e/x",
            "/..;/x",
            "/%2f%2fevil/",
            "/%2Fa",
            "/a%2f%2fb",
            "/a%252f%252fb",
            "/a/%2F/b",
            "/%c0%ae%c0%ae/x",
        ] {
            for prefix in ["/providers/one", "/v1/files", "/v1/files/x", "/v1/batches"] {
                let reply = send(&gateway, &format!("GET {prefix}{path}"), headers, b"");
                assert_eq!(
                    (reply.status, reply.error().0.as_str()),
                    (400, "invalid_path"),
                    "{prefix}{path}"
                );
            }
        }
        for name in ["two", "none", "ONE", "%6fne"] {
            let reply = send(&gateway, &format!("GET /providers/{name}/x"), headers, b"");
            assert_eq!(
                (reply.status, reply.error().0.as_str()),
                (403, "provider_not_allowed"),
                "{name}"
            );
        }
        for method in ["HEAD", "OPTIONS"] {
            let mut client = gateway.connect();
            client.send(
                format!("{method} /providers/one/x HTTP/1.1\r\nhost: localhost\r\n{headers}\r\n")
                    .as_bytes(),
            );
            client.read_until("\r\n\r\n");
            assert!(
                String::from_utf8_lossy(&client.unread).starts_with("HTTP/1.1 405"),
                "{method}"
            );
        }
        // An origin does not accept the absolute form.
        let reply = send(
            &gateway,
            "GET http://evil.example/providers/one/x",
            headers,
            b"",
        );
        assert_eq!(reply.status, 400);
        assert_eq!((one.count(), two.count()), (0, 0));
    });
}

#[test]
fn responses_of_any_status_lose_the_providers_private_headers() {
    on_both_drivers(|driver| {
        let one = Upstream::start(|seen, stream| {
            let head = if seen.line.contains("/gone") {
                "HTTP/1.1 204 No Content\r\nx-own: 1\r\n\r\n".to_owned()
            } else if seen.line.contains("/down") {
                return false;
            } else {
                "HTTP/1.1 418 X\r\nx-own: 1\r\nset-cookie: a=1\r\nx-ratelimit-remaining-requests: 1\r\nx-ringside-target: me\r\naccess-control-allow-origin: *\r\nopenai-organization: o\r\ncontent-length: 2\r\n\r\n\0\n".to_owned()
            };
            stream.write_all(head.as_bytes()).is_ok()
        });
        let gateway = keyed(&one, &one, "", driver);
        let ask = |head: &str| send(&gateway, head, "authorization: Bearer secret-a\r\n", b"");
        let reply = ask("GET /providers/one/tea");
        assert_eq!((reply.status, reply.body.as_slice()), (418, &b"\0\n"[..]));
        assert_eq!(reply.header("x-own"), Some("1"));
        assert_eq!(reply.header("x-ringside-target"), Some("one/*"));
        for name in [
            "set-cookie",
            "x-ratelimit-remaining-requests",
            "access-control-allow-origin",
            "openai-organization",
        ] {
            assert_eq!(reply.header(name), None, "{name}");
        }
        let reply = ask("DELETE /providers/one/gone");
        assert_eq!((reply.status, reply.header("content-length")), (204, None));
        let before = one.count();
        let reply = ask("POST /providers/one/down");
        assert_eq!(
            (reply.status, reply.error().0.as_str()),
            (502, "upstream_connection_closed")
        );
        // A request that may have had an effect is not repeated.
        assert_eq!(one.count(), before + 1);
        let _: Value = reply.json();
    });
}
