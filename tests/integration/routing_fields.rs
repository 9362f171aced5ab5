//! Routing fields: constraints of callers and keys hold within their permissions, a request is not sent to a target that
//! cannot serve it, and `explain` names the target beforehand.

use crate::harness::*;
use serde_json::{Value, json};
use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::Arc;

const NO_CACHE: &str = "[cache]\nenabled = false\n";

/// A provider that answers with its own name.
fn named(name: &'static str) -> Upstream {
    Upstream::start(move |_, stream| write_json(stream, 200, &chat_response(name)))
}

/// Providers a (eu), b (us) and c (no region), and a model `m` with a target at each; c is without
/// images and has a small window.
fn config(ups: &[Upstream; 3], policy: &str) -> String {
    let [a, b, c] = ups;
    format!(
        "{}{}{}[[models]]\nname = \"m\"\npolicy = \"{policy}\"\ntargets = [\n\
         {{ provider = \"a\", model = \"x\" }},\n{{ provider = \"b\", model = \"x\" }},\n\
         {{ provider = \"c\", model = \"x\", vision = false, context = 100 }},\n]\n\
         [[prices]]\nprovider = \"b\"\nmodel = \"x\"\ninput = 2\noutput = 2\n\
         [[prices]]\nprovider = \"c\"\nmodel = \"x\"\ninput = 1\noutput = 1\n",
        provider("a", &a.address.to_string(), "region = \"eu\""),
        provider(
            "b",
            &b.address.to_string(),
            "region = \"us\"\ntags = [\"no-collection\"]"
        ),
        provider("c", &c.address.to_string(), ""),
    )
}

fn upstreams() -> [Upstream; 3] {
    [named("a"), named("b"), named("c")]
}

fn post(gateway: &Gateway, headers: &[(&str, &str)], body: &Value) -> Response {
    gateway.post_with("/v1/chat/completions", headers, body)
}

/// The provider that responded.
fn who(reply: &Response) -> String {
    assert_eq!(reply.status, 200, "{reply:?}");
    reply.content()
}

#[test]
fn a_header_names_policy_and_targets() {
    on_both_drivers(|driver| {
        let ups = upstreams();
        let config = format!("{}{NO_CACHE}", config(&ups, "priority"));
        let gateway = Setup::new(driver, config).start();
        let by = |value: &str| who(&post(&gateway, &[("x-ringside-route", value)], &ask("q")));
        assert_eq!(who(&gateway.chat(&ask("q"))), "a");
        assert_eq!(by("cheapest"), "c");
        assert_eq!(by("b/x"), "b");
        assert_eq!(by("c, a"), "c");
        assert_eq!(by("b,*"), "b");
        let region = |value: &str| post(&gateway, &[("x-ringside-region", value)], &ask("q"));
        assert_eq!(who(&region("us")), "b");
        let nowhere = region("mars");
        assert_eq!(
            (nowhere.status, nowhere.error().0.as_str()),
            (400, "no_eligible_target")
        );
        let reported = nowhere.error().1;
        assert!(
            reported.contains("a/x (region), b/x (region), c/x (region)"),
            "{reported}"
        );
        let wrong = post(&gateway, &[("x-ringside-route", "chepest")], &ask("q"));
        assert_eq!(
            (wrong.status, wrong.error().0.as_str()),
            (400, "invalid_header")
        );
    });
}

#[test]
fn fields_of_the_body_constrain_routing_and_do_not_reach_the_provider() {
    on_both_drivers(|driver| {
        let ups = upstreams();
        let config = format!("{}{NO_CACHE}", config(&ups, "priority"));
        let gateway = Setup::new(driver, config).start();
        let with_provider = |provider: Value| with(ask("q"), "provider", provider);
        let by = |provider: Value| who(&gateway.chat(&with_provider(provider)));
        assert_eq!(by(json!({"order": ["b"]})), "b");
        assert_eq!(by(json!({"only": ["c", "b"]})), "b");
        assert_eq!(by(json!({"ignore": ["a"]})), "b");
        assert_eq!(by(json!({"sort": "price"})), "c");
        assert_eq!(by(json!({"data_collection": "deny"})), "b");
        assert_eq!(
            by(json!({"order": ["c", "b"], "allow_fallbacks": false})),
            "c"
        );
        assert_eq!(
            who(&gateway.chat(&with(ask("q"), "model", "m:floor".into()))),
            "c"
        );
        let refused = gateway.chat(&with_provider(json!({"max_price": {"prompt": 1}})));
        assert_eq!(refused.status, 400);
        let body = br#"{ "models":["m"],"temperature": 0.50, "model" : "m","provider": {"order":["b"]} ,"messages":[{"role":"user","content":"\u0071"}]}"#;
        let mut client = gateway.connect();
        client.send(&request("/v1/chat/completions", &[], body));
        assert_eq!(who(&client.response()), "b");
        let sent = String::from_utf8(ups[1].last().message.body).unwrap();
        let wanted = r#"{ "temperature": 0.50, "model" : "x","messages":[{"role":"user","content":"\u0071"}]}"#;
        assert_eq!(sent, wanted);
    });
}

#[test]
fn what_a_target_cannot_do_is_not_sent_to_it() {
    on_both_drivers(|driver| {
        let ups = upstreams();
        let config = format!("{}{NO_CACHE}", config(&ups, "cheapest"));
        let gateway = Setup::new(driver, config).start();
        assert_eq!(who(&gateway.chat(&ask("q"))), "c");
        let long = "word ".repeat(200);
        assert_eq!(who(&gateway.chat(&ask(&long))), "b");
        let image = json!({"model": "m", "messages": [{"role": "user", "content": [
            {"type": "text", "text": "what?"},
            {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}]}]});
        assert_eq!(who(&gateway.chat(&image)), "b");
        // The length is an estimate: if nothing else excludes the target, the provider decides.
        let pinned = |body: &Value| post(&gateway, &[("x-ringside-route", "c")], body);
        assert_eq!(who(&pinned(&ask(&long))), "c");
        let (code, message) = pinned(&image).error();
        assert_eq!(code, "no_eligible_target");
        assert!(message.contains("c/x (vision)"), "{message}");
        let line = gateway.wait_for_log(|line| line["route"]["excluded"]["c/x"] == "vision");
        assert_eq!(line["route"]["policy"], "cheapest");
        assert_eq!(line["route"]["order"], json!(["b/x", "a/x"]));
    });
}

#[test]
fn a_key_keeps_its_regions_whatever_the_caller_requests() {
    on_both_drivers(|driver| {
        let ups = upstreams();
        let keys = "[[keys]]\nname = \"eu\"\nsecret = \"file:eu\"\nregions = [\"eu\"]\n\
                    [[keys]]\nname = \"safe\"\nsecret = \"file:safe\"\ntags = [\"no-collection\"]\n";
        let config = format!("{}{keys}{NO_CACHE}", config(&ups, "priority"));
        let folder = tempfile::tempdir().unwrap();
        for key in ["eu", "safe"] {
            std::fs::write(folder.path().join(key), format!("secret-{key}")).unwrap();
        }
        let gateway = Setup::new(driver, config).start_in(folder);
        let eu = ("authorization", "Bearer secret-eu");
        assert_eq!(who(&post(&gateway, &[eu], &ask("q"))), "a");
        for route in ["b", "c"] {
            let reply = post(&gateway, &[eu, ("x-ringside-route", route)], &ask("q"));
            assert_eq!(reply.error().0, "no_eligible_target");
        }
        let reply = post(&gateway, &[eu, ("x-ringside-region", "us")], &ask("q"));
        assert_eq!(reply.error().0, "no_eligible_target");
        let safe = ("authorization", "Bearer secret-safe");
        assert_eq!(who(&post(&gateway, &[safe], &ask("q"))), "b");
        assert_eq!(ups[2].count(), 0);
    });
}

#[test]
fn a_request_that_names_a_target_gets_no_hit_of_another() {
    on_both_drivers(|driver| {
        let ups = upstreams();
        let gateway = Setup::new(driver, config(&ups, "priority")).start();
        assert_eq!(who(&gateway.chat(&ask("q"))), "a");
        assert_eq!(gateway.chat(&ask("q")).cache(), "exact");
        let pin = [("x-ringside-route", "b")];
        let first = post(&gateway, &pin, &ask("q"));
        assert_eq!((first.cache(), who(&first).as_str()), ("miss", "b"));
        assert_eq!(post(&gateway, &pin, &ask("q")).cache(), "exact");
        let body = with(ask("q"), "provider", json!({"only": ["c"]}));
        assert_eq!(who(&gateway.chat(&body)), "c");
        // A policy only prefers, so the response of any target is a hit.
        let sorted = with(ask("q"), "provider", json!({"sort": "price"}));
        assert_eq!(gateway.chat(&sorted).cache(), "exact");
    });
}

#[test]
fn throughput_prefers_the_target_with_more_tokens_per_second() {
    on_both_drivers(|driver| {
        let slow = Upstream::start(|_, stream| {
            let mut out = stream_head().to_vec();
            out.extend_from_slice(&chunk(&delta("word")));
            let _ = stream.write_all(&out);
            std::thread::sleep(std::time::Duration::from_millis(300));
            usage_end(stream)
        });
        let fast = Upstream::start(|_, stream| {
            let mut out = stream_head().to_vec();
            out.extend_from_slice(&chunk(&delta("word")));
            let _ = stream.write_all(&out);
            usage_end(stream)
        });
        let targets = format!("{}policy = \"throughput\"\n", model("m", &["slow", "fast"]));
        let config = format!(
            "{}{}{targets}{NO_CACHE}",
            slow.provider("slow"),
            fast.provider("fast")
        );
        let gateway = Setup::new(driver, config).server("cores = 1").start();
        for _ in 0..40 {
            assert_eq!(gateway.chat(&ask_stream("q")).status, 200);
        }
        // One request measures it, and one in forty measures it again.
        assert!(slow.count() <= 8, "{}", slow.count());
    });
}

fn usage_end(stream: &mut std::net::TcpStream) -> bool {
    let usage = json!({"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "x",
        "choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": 100, "total_tokens": 105}});
    let end = format!("data: {usage}\n\ndata: [DONE]\n\n");
    let mut out = chunk(&delta("more"));
    out.extend_from_slice(&chunk(&end));
    out.extend_from_slice(b"0\r\n\r\n");
    stream.write_all(&out).is_ok()
}

fn explained(config: &std::path::Path, input: &Value, json: bool) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringside"));
    command.arg("explain").arg("--config").arg(config);
    if json {
        command.arg("--json");
    }
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(input.to_string().as_bytes()).unwrap();
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn explain_names_the_target_that_is_then_used() {
    on_both_drivers(|driver| {
        let ups = Arc::new(upstreams());
        let config = format!("{}{NO_CACHE}", config(&ups, "cheapest"));
        let gateway = Setup::new(driver, config).server("cores = 1").start();
        let path = gateway.folder.path().join("ringside.toml");
        let long = "word ".repeat(200);
        for (headers, body) in [
            (json!({}), ask("q")),
            (json!({}), ask(&long)),
            (json!({"x-ringside-region": "eu"}), ask("q")),
            (json!({"x-ringside-route": "b,*"}), ask("q")),
        ] {
            let input = json!({"headers": headers, "body": body});
            let offline: Value = serde_json::from_str(&explained(&path, &input, true)).unwrap();
            let live = admin_explain(&gateway, &input);
            let given: Vec<(&str, &str)> = headers
                .as_object()
                .unwrap()
                .iter()
                .map(|(name, value)| (name.as_str(), value.as_str().unwrap()))
                .collect();
            let reply = post(&gateway, &given, &body);
            let target = reply.header("x-ringside-target").unwrap();
            for reported in [&offline, &live] {
                assert_eq!(reported["models"][0]["order"][0], target, "{reported:#}");
                assert_eq!(reported["refused"], Value::Null);
                assert_eq!(reported["models"][0]["candidates"][1]["phase"], "healthy");
            }
        }
        let before = ups.iter().map(Upstream::count).sum::<usize>();
        let input = json!({"headers": {"x-ringside-region": "mars"}, "body": ask("q")});
        let reported = explained(&path, &input, false);
        assert!(reported.contains("excluded: region"), "{reported}");
        assert!(
            reported.contains("refused: 400 no_eligible_target"),
            "{reported}"
        );
        let wrong = admin_explain(&gateway, &with(ask("q"), "model", "none".into()));
        assert_eq!(wrong["refused"]["code"], "model_not_found");
        assert_eq!(ups.iter().map(Upstream::count).sum::<usize>(), before);
    });
}

#[test]
fn explain_knows_what_the_core_has_learned() {
    on_both_drivers(|driver| {
        let ups = [
            Upstream::start(|_, stream| write_json(stream, 500, &json!({"error": {}}))),
            named("b"),
            named("c"),
        ];
        let config = format!("{}{NO_CACHE}", config(&ups, "priority"));
        let gateway = Setup::new(driver, config).server("cores = 1").start();
        for _ in 0..6 {
            assert_eq!(who(&gateway.chat(&ask("q"))), "b");
        }
        let reported = admin_explain(&gateway, &ask("q"));
        let first = &reported["models"][0]["candidates"][0];
        assert_eq!(first["target"], "a/x");
        assert_ne!(first["phase"], "healthy", "{reported:#}");
        assert!(first["score"].as_f64().unwrap() < 1.0);
        let second = &reported["models"][0]["candidates"][1];
        assert!(second["expected_us"].as_u64().unwrap() > 0);
    });
}

fn admin_explain(gateway: &Gateway, input: &Value) -> Value {
    let reply = Client::connect(&gateway.admin).post("/admin/v1/explain", &[], input);
    assert_eq!(reply.status, 200, "{reply:?}");
    reply.json()["cores"][0].clone()
}
