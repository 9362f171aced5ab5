//! Endpoints whose requests name a model: their bodies, streams and hang-ups.

use super::*;
use std::io::Write;

#[test]
fn only_the_model_changes_in_json_and_form_bodies() {
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
fn a_response_that_is_not_json_reaches_the_client_as_it_arrives() {
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
            // Breaks off, or waits until the gateway closes.
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
            // There is no last chunk, so no client takes the body for complete.
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
            // An upload that stops in the middle is not sent to the provider.
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
fn streamed_completions_are_counted_and_show_usage_only_if_requested() {
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
