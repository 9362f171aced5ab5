//! What is passed on: endpoints beside chats, by the model in the body; files, batches and anything under
//! `/providers/{name}/…`, to one provider. Byte-exact, within limits and permissions, and hung up on.

use crate::harness::*;
use serde_json::{Value, json};
use std::io::Write;

/// Bytes that are no text and no JSON.
fn sound() -> Vec<u8> {
    (0..40_000_u32).map(|at| (at * 7 % 256) as u8).collect()
}

fn form(model: &str) -> Vec<u8> {
    let mut out = format!(
        "--b-1\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\n{model}\r\n--b-1\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.wav\"\r\nContent-Type: audio/wav\r\n\r\n"
    )
    .into_bytes();
    out.extend_from_slice(&sound());
    out.extend_from_slice(b"\r\n--b-1--\r\n");
    out
}

const FORM: (&str, &str) = ("content-type", "multipart/form-data; boundary=\"b-1\"");
const JSON: (&str, &str) = ("content-type", "application/json");

fn uncached(config: &str) -> String {
    format!("[cache]\nenabled = false\n{config}")
}

fn send(gateway: &Gateway, head: &str, headers: &str, body: &[u8]) -> Response {
    let mut client = gateway.connect();
    let length = body.len();
    let mut out =
        format!("{head} HTTP/1.1\r\nhost: t\r\n{headers}content-length: {length}\r\n\r\n")
            .into_bytes();
    out.extend_from_slice(body);
    client.send(&out);
    client.response()
}

/// Says what it got, with usage.
fn mirror() -> Upstream {
    Upstream::start(|seen, stream| {
        let body = json!({"line": seen.line, "bytes": seen.message.body.len(),
            "usage": {"input_tokens": 7, "output_tokens": 5, "total_tokens": 12}});
        write_json(stream, 200, &body)
    })
}

#[test]
fn bodies_of_both_kinds_cross_byte_for_byte_but_for_the_model() {
    on_both_drivers(|driver| {
        let (down, up) = (
            Upstream::start(|_, stream| write_json(stream, 503, &json!({"error": {}}))),
            mirror(),
        );
        let config = format!(
            "{}{}{}",
            provider("down", &down.address.to_string(), ""),
            up.provider("up"),
            model("m", &["down", "up"])
        );
        let gateway = Setup::new(driver, uncached(&config)).start();
        for path in [
            "moderations",
            "images/generations",
            "completions",
            "audio/speech",
        ] {
            let body = |model: &str| {
                format!("{{ \"n\":1.50,\"model\" : \"{model}\" , \"input\":\"\\u00e9\"}}")
            };
            let mut client = gateway.connect();
            client.send(&request(
                &format!("/v1/{path}"),
                &[JSON],
                body("m").as_bytes(),
            ));
            let reply = client.response();
            assert_eq!(reply.status, 200, "{path}: {reply:?}");
            assert_eq!(reply.json()["line"], format!("POST /v1/{path} HTTP/1.1"));
            assert_eq!(reply.header("x-ringside-target"), Some("up/m-at-up"));
            assert_eq!(up.last().message.text(), body("m-at-up"));
            assert_eq!(up.last().header("content-type"), Some("application/json"));
        }
        for path in [
            "images/edits",
            "images/variations",
            "audio/transcriptions",
            "audio/translations",
        ] {
            let mut client = gateway.connect();
            client.send(&request(&format!("/v1/{path}"), &[FORM], &form("m")));
            let reply = client.response();
            assert_eq!(reply.status, 200, "{path}: {reply:?}");
            assert_eq!(up.last().message.body, form("m-at-up"), "{path}");
            assert_eq!(up.last().header("content-type"), Some(FORM.1));
        }
        let log = gateway.wait_for_log(|line| line["operation"] == "transcription");
        assert_eq!(
            (&log["input_tokens"], &log["output_tokens"]),
            (&json!(7), &json!(5))
        );
        assert!(
            gateway.metric("ringside_requests_total{operation=\"image\",status=\"200\"}") >= 3.0
        );
    });
}

#[test]
fn bad_bodies_are_refused_by_name() {
    on_both_drivers(|driver| {
        let upstream = mirror();
        let gateway = Setup::new(driver, uncached(&upstream.config())).start();
        for (path, kind, body, status, code) in [
            (
                "/v1/moderations",
                JSON,
                &b"{\"input\":\"x\"}"[..],
                400,
                "invalid_request",
            ),
            (
                "/v1/moderations",
                JSON,
                b"{\"model\":\"nope\"}",
                404,
                "model_not_found",
            ),
            (
                "/v1/audio/transcriptions",
                FORM,
                b"--b-1\r\nx",
                400,
                "invalid_form",
            ),
            (
                "/v1/audio/speech",
                ("content-type", "text/plain"),
                b"x",
                415,
                "unsupported_media_type",
            ),
        ] {
            let mut client = gateway.connect();
            client.send(&request(path, &[kind], body));
            let reply = client.response();
            assert_eq!(
                (reply.status, reply.error().0.as_str()),
                (status, code),
                "{path}"
            );
        }
        let reply = send(&gateway, "GET /v1/moderations", "", b"");
        assert_eq!((reply.status, reply.header("allow")), (405, Some("POST")));
        assert_eq!(upstream.count(), 0);
    });
}

#[test]
fn what_is_no_json_is_passed_on_as_it_comes() {
    on_both_drivers(|driver| {
        let (go, gone) = std::sync::mpsc::channel::<()>();
        let gone = std::sync::Mutex::new(gone);
        let upstream = Upstream::start(move |_, stream| {
            let sound = sound();
            let (first, second) = sound.split_at(10_000);
            let head =
                b"HTTP/1.1 200 OK\r\ncontent-type: audio/mpeg\r\ncontent-length: 40000\r\n\r\n";
            stream.write_all(head).unwrap();
            stream.write_all(first).unwrap();
            // The rest comes once the client has the first piece.
            gone.lock().unwrap().recv().unwrap();
            stream.write_all(second).is_ok()
        });
        let gateway = Setup::new(driver, uncached(&upstream.config())).start();
        let mut client = gateway.connect();
        client.send(&request(
            "/v1/audio/speech",
            &[JSON],
            b"{\"model\":\"m\",\"input\":\"x\"}",
        ));
        let begun = String::from_utf8_lossy(&sound()[1..9]).into_owned();
        client.read_until(&begun);
        go.send(()).unwrap();
        let reply = client.response();
        assert_eq!(
            (reply.status, reply.header("content-type")),
            (200, Some("audio/mpeg"))
        );
        assert_eq!(reply.body, sound());
    });
}

#[test]
fn a_hang_up_on_either_side_ends_the_other() {
    on_both_drivers(|driver| {
        let upstream = Upstream::start(|seen, stream| {
            let head = b"HTTP/1.1 200 OK\r\ncontent-type: audio/mpeg\r\ncontent-length: 99999\r\n\r\nabcdefgh";
            stream.write_all(head).unwrap();
            // Breaks off, or waits for the gateway to.
            !seen.message.text().contains("break")
        });
        let config = format!(
            "{}[[keys]]\nname = \"k\"\nsecret = \"file:k\"\nproviders = [\"up\"]\n",
            upstream.config()
        );
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("k"), "s1").unwrap();
        let gateway = Setup::new(driver, uncached(&config)).start_in(folder);
        let key = ("authorization", "Bearer s1");
        for path in ["/v1/audio/speech", "/providers/up/anything", "/v1/files"] {
            let mut client = gateway.connect();
            client.send(&request(
                path,
                &[JSON, key],
                b"{\"model\":\"m\",\"input\":\"break\"}",
            ));
            client.read_until("abcdefgh");
            // No last chunk: nobody can take it for the whole.
            let mut rest = Vec::new();
            std::io::Read::read_to_end(&mut client.stream, &mut rest).unwrap();
            client.unread.extend_from_slice(&rest);
            assert!(!client.unread.ends_with(b"0\r\n\r\n"), "{path}");
            let before = upstream.closed.load(std::sync::atomic::Ordering::SeqCst);
            let mut client = gateway.connect();
            client.send(&request(
                path,
                &[JSON, key],
                b"{\"model\":\"m\",\"input\":\"wait\"}",
            ));
            client.read_until("abcdefgh");
            drop(client);
            wait_until("the upstream call ended", || {
                upstream.closed.load(std::sync::atomic::Ordering::SeqCst) > before
            });
            // An upload that stops in the middle costs nobody anything.
            let count = upstream.count();
            let mut client = gateway.connect();
            let whole = request(path, &[FORM, key], &form("m"));
            client.send(&whole[..whole.len() - 100]);
            drop(client);
            assert_eq!(upstream.count(), count, "{path}");
        }
        gateway.wait_for_metric("ringside_connections", 0.0);
    });
}

const WORDS: &str = "data: {\"id\":\"c\",\"object\":\"text_completion\",\"choices\":[{\"text\":\"a b\",\"index\":0,\"finish_reason\":\"stop\"}]}\n\n";
const USAGE: &str = "data: {\"id\":\"c\",\"object\":\"text_completion\",\"choices\":[],\"usage\":{\"prompt_tokens\":7,\"completion_tokens\":5,\"total_tokens\":12}}\n\n";

#[test]
fn streamed_completions_are_counted_and_show_usage_to_who_asked() {
    on_both_drivers(|driver| {
        let upstream = Upstream::start(|seen, stream| {
            let is_cut = seen.json()["prompt"] == "cut";
            let mut out = stream_head().to_vec();
            if is_cut {
                out.extend_from_slice(&chunk("data: {\"choices\":[{\"text\":\"a\"}]}\n\n"));
            } else {
                out.extend_from_slice(&chunk(&format!("{WORDS}{USAGE}data: [DONE]\n\n")));
            }
            out.extend_from_slice(b"0\r\n\r\n");
            stream.write_all(&out).is_ok()
        });
        let gateway = Setup::new(driver, uncached(&upstream.config())).start();
        let mut body = json!({"model": "m", "prompt": "x", "stream": true});
        let reply = gateway.post("/v1/completions", &body);
        assert_eq!(reply.text(), format!("{WORDS}data: [DONE]\n\n"));
        assert_eq!(
            upstream.last().json()["stream_options"]["include_usage"],
            true
        );
        body["stream_options"] = json!({"include_usage": true});
        let reply = gateway.post("/v1/completions", &body);
        assert_eq!(reply.text(), format!("{WORDS}{USAGE}data: [DONE]\n\n"));
        let log = gateway.wait_for_log(|line| line["operation"] == "text_completion");
        assert_eq!(
            (&log["input_tokens"], &log["output_tokens"]),
            (&json!(7), &json!(5))
        );
        body["prompt"] = "cut".into();
        let reply = gateway.post("/v1/completions", &body);
        assert!(
            reply.text().contains("upstream_truncated"),
            "{}",
            reply.text()
        );
    });
}

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
fn what_a_provider_keeps_is_reached_by_keys_that_may() {
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
        // The key's regions leave one.
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
        // Models that the key may not use are not to be had beside chats either.
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
fn anything_of_a_provider_is_passed_on_as_it_is() {
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
            for stored in [
                "x-api-key",
                "cookie",
                "x-ringside-x",
                "x-forwarded-for",
                "x-hop",
                "connection",
            ] {
                assert_eq!(seen.header(stored), None, "{stored}");
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
        ] {
            let reply = send(&gateway, &format!("GET /providers/one{path}"), headers, b"");
            assert_eq!(
                (reply.status, reply.error().0.as_str()),
                (400, "invalid_path"),
                "{path}"
            );
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
                format!("{method} /providers/one/x HTTP/1.1\r\nhost: t\r\n{headers}\r\n")
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
fn answers_of_any_kind_come_back_filtered() {
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
        for stored in [
            "set-cookie",
            "x-ratelimit-remaining-requests",
            "access-control-allow-origin",
            "openai-organization",
        ] {
            assert_eq!(reply.header(stored), None, "{stored}");
        }
        let reply = ask("DELETE /providers/one/gone");
        assert_eq!((reply.status, reply.header("content-length")), (204, None));
        let before = one.count();
        let reply = ask("POST /providers/one/down");
        assert_eq!(
            (reply.status, reply.error().0.as_str()),
            (502, "upstream_connection_closed")
        );
        // What may have had an effect is not sent twice.
        assert_eq!(one.count(), before + 1);
        let _: Value = reply.json();
    });
}
