//! Scoping: for each row of the key-scoping table a pair that must hit and one that must not, exact and
//! semantic. Tenant, model, system prompt, history, tools, parameters, unknown fields.

use crate::harness::*;
use crate::local_model::ready;
use serde_json::{Value, json};

const ASKED: &str = "What is the capital of France?";
const OTHER_WORDS: &str = "What is the capital city of France?";

/// A name and what it does to a request.
type Change = (&'static str, fn(&mut Value));

fn base() -> Value {
    json!({"model": "m", "messages": [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Hi!"},
        {"role": "user", "content": ASKED},
    ], "temperature": 0.2, "tools": [{"type": "function", "function": {"name": "f", "parameters": {"a": 1, "b": 2}}}]})
}

/// Each changes one thing that must separate two requests.
fn must_part() -> Vec<Change> {
    vec![
        ("model", |v| v["model"] = "other".into()),
        ("system prompt", |v| {
            v["messages"][0]["content"] = "Be verbose.".into();
        }),
        ("no system prompt", |v| {
            v["messages"].as_array_mut().unwrap().remove(0);
        }),
        ("developer instead of system", |v| {
            v["messages"][0]["role"] = "developer".into();
        }),
        ("history", |v| v["messages"][2]["content"] = "Hello!".into()),
        ("longer history", |v| {
            v["messages"]
                .as_array_mut()
                .unwrap()
                .insert(1, json!({"role": "user", "content": "x"}));
        }),
        ("name of the author", |v| {
            v["messages"][3]["name"] = "bob".into();
        }),
        ("temperature", |v| v["temperature"] = 0.3.into()),
        ("omitted temperature", |v| {
            v.as_object_mut().unwrap().remove("temperature");
        }),
        ("tools", |v| v["tools"][0]["function"]["name"] = "g".into()),
        ("order of tools", |v| {
            let one = v["tools"][0].clone();
            v["tools"] = json!([{"type": "x"}, one]);
        }),
        ("tool choice", |v| v["tool_choice"] = "none".into()),
        ("parallel tool calls", |v| {
            v["parallel_tool_calls"] = false.into();
        }),
        ("response format", |v| {
            v["response_format"] = json!({"type": "json_object"});
        }),
        ("max tokens", |v| v["max_tokens"] = 5.into()),
        ("max completion tokens", |v| {
            v["max_completion_tokens"] = 5.into();
        }),
        ("top_p", |v| v["top_p"] = 0.5.into()),
        ("stop", |v| v["stop"] = json!(["x"])),
        ("penalty", |v| v["presence_penalty"] = 0.1.into()),
        ("logit bias", |v| v["logit_bias"] = json!({"5": 1})),
        ("reasoning effort", |v| {
            v["reasoning_effort"] = "high".into();
        }),
        ("verbosity", |v| v["verbosity"] = "low".into()),
        ("modalities", |v| v["modalities"] = json!(["text"])),
        ("unknown field", |v| {
            v["a_field_of_2031"] = json!({"x": null});
        }),
        (
            "image beside the text",
            |v| v["messages"][3]["content"] = json!([{"type": "text", "text": ASKED}, {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA"}}]),
        ),
    ]
}

/// Each changes something that must not separate two requests.
fn must_share() -> Vec<Change> {
    vec![
        ("nothing", |_| {}),
        ("user", |v| v["user"] = "u1".into()),
        ("metadata", |v| v["metadata"] = json!({"a": "b"})),
        ("store", |v| v["store"] = true.into()),
        ("service tier", |v| v["service_tier"] = "auto".into()),
        ("stream", |v| v["stream"] = true.into()),
        ("stream options", |v| {
            v["stream"] = true.into();
            v["stream_options"] = json!({"include_usage": true});
        }),
    ]
}

pub(crate) fn keys() -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let mut text = String::new();
    for (name, team) in [("a", "one"), ("b", "one"), ("c", "two")] {
        std::fs::write(folder.path().join(name), format!("secret-{name}")).unwrap();
        text.push_str(&format!(
            "[[keys]]\nname = \"{name}\"\nteam = \"{team}\"\nsecret = \"file:{name}\"\n"
        ));
    }
    (folder, text)
}

fn call(gateway: &Gateway, key: &str, body: &Value) -> Response {
    let bearer = format!("Bearer secret-{key}");
    let reply = gateway.post_with("/v1/chat/completions", &[("authorization", &bearer)], body);
    assert_eq!(reply.status, 200, "{reply:?}");
    reply
}

#[test]
fn every_row_of_the_table() {
    on_both_drivers(|driver| {
        let upstream = Upstream::echo();
        let (folder, keys) = keys();
        let semantic =
            "[cache.semantic]\nmode = \"serve\"\nsimilarity_min = 0.9\ndeadline = \"5s\"\n";
        let config = format!(
            "{}{}{semantic}{keys}",
            upstream.config(),
            model("other", &["up"])
        );
        let gateway = Setup::new(driver, config).start_in(folder);
        ready(&gateway);
        assert_eq!(call(&gateway, "a", &base()).cache(), "miss");
        gateway.wait_for_metric("ringside_cache_vectors", 1.0);
        let mut other_words = base();
        other_words["messages"][3]["content"] = OTHER_WORDS.into();
        for (name, change) in must_share() {
            let mut same = base();
            change(&mut same);
            assert_eq!(call(&gateway, "a", &same).cache(), "exact", "{name}");
            let mut reworded = other_words.clone();
            change(&mut reworded);
            assert_eq!(call(&gateway, "a", &reworded).cache(), "semantic", "{name}");
        }
        for (name, change) in must_part() {
            // The paraphrase first: it must be no semantic hit, and must not fill the cache for the exact request.
            let mut reworded = other_words.clone();
            change(&mut reworded);
            if name != "image beside the text" {
                assert_eq!(
                    call(&gateway, "a", &reworded).cache(),
                    "miss",
                    "{name}, other words"
                );
            }
            let mut same = base();
            change(&mut same);
            let no_store = gateway.post_with(
                "/v1/chat/completions",
                &[
                    ("authorization", "Bearer secret-a"),
                    ("cache-control", "only-if-cached"),
                    ("x-ringside-similarity-min", "1"),
                ],
                &same,
            );
            assert_eq!(no_store.status, 504, "{name}, same words: {no_store:?}");
        }
        // Another key is another tenant, even of one team.
        for key in ["b", "c"] {
            assert_eq!(call(&gateway, key, &base()).cache(), "miss", "key {key}");
        }
    });
}

#[test]
fn teams_share_when_the_configuration_says_so() {
    let upstream = Upstream::echo();
    let (folder, keys) = keys();
    let config = format!("{}{keys}[cache]\nscope = \"team\"\n", upstream.config());
    let gateway = Setup::new("io_uring", config).start_in(folder);
    assert_eq!(call(&gateway, "a", &base()).cache(), "miss");
    assert_eq!(call(&gateway, "b", &base()).cache(), "exact");
    assert_eq!(call(&gateway, "c", &base()).cache(), "miss");
}

#[test]
fn key_order_does_not_part_requests() {
    let upstream = Upstream::echo();
    let gateway = Setup::new("epoll", upstream.config()).start();
    let send = |body: &str| {
        let mut client = gateway.connect();
        client.send(&request("/v1/chat/completions", &[], body.as_bytes()));
        client.response()
    };
    let one = r#"{"model":"m","messages":[{"role":"user","content":"hi"}],"top_p":1,"tools":[{"a":1,"b":{"c":2,"d":3}}]}"#;
    let two = "{ \"tools\" : [ {\"b\":{\"d\":3, \"c\":2},\"a\":1} ], \"top_p\":1,\n\"messages\":[{\"content\":\"\\u0068i\",\"role\":\"user\"}],\"model\":\"m\"}";
    assert_eq!(send(one).cache(), "miss");
    assert_eq!(send(two).cache(), "exact");
}

#[test]
fn the_same_last_message_in_another_conversation_is_never_shared() {
    let upstream = Upstream::start(|seen, stream| {
        let history = seen.json()["messages"].to_string();
        write_json(stream, 200, &chat_response(&history))
    });
    let semantic = "[cache.semantic]\nmode = \"serve\"\nsimilarity_min = 0.5\ndeadline = \"5s\"\n";
    let gateway = Setup::new("io_uring", upstream.config() + semantic).start();
    ready(&gateway);
    for company in ["OpenAI", "Apple", "Google"] {
        let body = json!({"model": "m", "messages": [
            {"role": "user", "content": format!("Who runs {company}?")},
            {"role": "assistant", "content": "Its chief executive."},
            {"role": "user", "content": "How old is he?"},
        ]});
        let reply = gateway.chat(&body);
        assert_eq!(reply.cache(), "miss");
        assert!(reply.content().contains(company));
    }
}
