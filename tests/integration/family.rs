//! The OpenAI-compatible family: every line of the table, against a provider that records requests.

use crate::harness::*;
use ringside::config::provider_family::{Kind, family};
use serde_json::{Value, json};
use std::io::Write;

/// The kinds with OpenAI's dialect.
fn kinds() -> impl Iterator<Item = &'static Kind> {
    family().iter().filter(|kind| kind.dialect == "openai")
}

/// A provider of each kind at `upstream`, and a model of the same name at each.
fn one_of_each(upstream: &Upstream, more: &str) -> String {
    let address = upstream.address.to_string();
    let one = |kind: &Kind| {
        let name = &kind.name;
        let more = format!("kind = \"{name}\"\napi_keys = []\n{more}");
        format!(
            "{}{}",
            provider(name, &address, &more),
            model(name, &[name])
        )
    };
    format!(
        "[cache]\nenabled = false\n{}",
        kinds().map(one).collect::<String>()
    )
}

#[test]
fn the_page_names_every_kind() {
    let page = include_str!("../../docs/providers.md");
    let (_, rest) = page.split_once("<!-- family -->").unwrap();
    let (listed, _) = rest.split_once("<!-- family end -->").unwrap();
    let listed: Vec<&str> = listed
        .trim()
        .trim_end_matches('.')
        .split(',')
        .map(str::trim)
        .collect();
    let known: Vec<&str> = family().iter().map(|kind| kind.name.as_str()).collect();
    assert_eq!(listed, known);
}

fn ask_of(kind: &Kind) -> Value {
    with(ask("hi"), "model", kind.name.clone().into())
}

#[test]
fn every_line_of_the_table_is_obeyed() {
    on_both_drivers(|driver| {
        let upstream = Upstream::echo();
        let refusing = Setup::new(driver, one_of_each(&upstream, "")).start();
        let dropping = Setup::new(
            driver,
            one_of_each(&upstream, "unsupported_fields = \"drop\"\n"),
        )
        .start();
        for kind in kinds() {
            plain_requests_cross_byte_for_byte(&refusing, &upstream, kind);
            for (field, name) in &kind.rename {
                let upstream_response = refusing.chat(&with(ask_of(kind), field, json!(5)));
                let seen = upstream.last().json();
                assert_eq!(upstream_response.status, 200, "{}: {field}", kind.name);
                assert_eq!((&seen[name], seen.get(field)), (&json!(5), None));
            }
            for field in &kind.refuses {
                // No field has this value by default, so dropping it could change the response.
                let value = json!({"7": 1});
                let upstream_response = dropping.chat(&with(ask_of(kind), field, value.clone()));
                assert_eq!(
                    upstream_response.status, 200,
                    "{}: {field}: {upstream_response:?}",
                    kind.name
                );
                assert_eq!(
                    upstream_response.header("x-ringside-dropped"),
                    Some(field.as_str())
                );
                assert_eq!(upstream.last().json().get(field), None);
                if ![
                    "store",
                    "service_tier",
                    "user",
                    "safety_identifier",
                    "prompt_cache_key",
                    "stream_options",
                ]
                .contains(&field.as_str())
                {
                    let refused = refusing.chat(&with(ask_of(kind), field, value));
                    assert_eq!(refused.status, 400, "{}: {field}", kind.name);
                    assert_eq!(refused.json()["error"]["param"], field.as_str());
                }
            }
            let mut body = ask_of(kind);
            body["messages"][0]["role"] = "developer".into();
            assert_eq!(refusing.chat(&body).status, 200);
            let role = kind.developer.as_deref().unwrap_or("developer");
            assert_eq!(upstream.last().json()["messages"][0]["role"], role);
        }
    });
}

#[test]
fn parameter_compatibility_of_chats_does_not_apply_to_responses() {
    on_both_drivers(|driver| {
        let upstream = Upstream::echo();
        let more = "kind = \"groq\"\nresponses = \"pass\"\napi_keys = []\n";
        let address = upstream.address.to_string();
        let config = provider("groq", &address, more) + &model("groq", &["groq"]);
        let gateway = Setup::new(driver, config).start();
        let body = |model: &str| {
            format!("{{ \"model\": \"{model}\", \"input\": \"hi\", \"top_logprobs\": 2 }}")
        };
        let mut client = gateway.connect();
        client.send(&request("/v1/responses", &[], body("groq").as_bytes()));
        assert_eq!(client.response().status, 200);
        assert_eq!(upstream.last().message.text(), body("groq-at-groq"));
    });
}

/// An error in a provider's own envelope, chosen by the question.
fn own_error(question: &str) -> Value {
    match question {
        "old" => {
            json!({"object": "error", "message": "no such model", "type": "invalid_model", "param": null, "code": "1500"})
        }
        _ => {
            json!({"detail": [{"type": "extra_forbidden", "loc": ["body", "x"], "msg": "Extra inputs are not permitted"}]})
        }
    }
}

#[test]
fn a_providers_own_errors_reach_clients_of_responses_too() {
    on_both_drivers(|driver| {
        let upstream = Upstream::start(|seen, stream| {
            let sent = seen.json();
            write_json(stream, 422, &own_error(sent["input"].as_str().unwrap()))
        });
        let address = upstream.address.to_string();
        let more = "kind = \"mistral\"\nresponses = \"pass\"\napi_keys = []\n";
        let config = provider("p", &address, more) + &model("m", &["p"]);
        let gateway = Setup::new(driver, config).start();
        let reported = |question: &str| {
            let body = json!({"model": "m", "input": question}).to_string();
            let mut client = gateway.connect();
            client.send(&request("/v1/responses", &[], body.as_bytes()));
            let upstream_response = client.response();
            assert_eq!(upstream_response.status, 422, "{upstream_response:?}");
            assert_eq!(upstream.last().line, "POST /v1/responses HTTP/1.1");
            upstream_response.json()["error"].clone()
        };
        let old = reported("old");
        assert_eq!(
            (&old["message"], &old["code"]),
            (&"no such model".into(), &"1500".into())
        );
        let new = reported("new")["message"].to_string();
        assert!(new.contains("Extra inputs"), "{new}");
    });
}

fn plain_requests_cross_byte_for_byte(gateway: &Gateway, upstream: &Upstream, kind: &Kind) {
    let body = |model: &str| {
        format!(
            "{{ \"model\" : \"{model}\",\n\"top_p\":0.10, \"messages\":[{{\"role\":\"user\",\"content\":\"a \\u00e9 b\"}}],\"x\":[1 ,2]}}"
        )
    };
    let mut client = gateway.connect();
    client.send(&request(
        "/v1/chat/completions",
        &[],
        body(&kind.name).as_bytes(),
    ));
    let upstream_response = client.response();
    assert_eq!(upstream_response.status, 200, "{}", kind.name);
    assert_eq!(upstream_response.header("x-ringside-dropped"), None);
    let at_provider = format!("{0}-at-{0}", kind.name);
    assert_eq!(
        upstream.last().message.text(),
        body(&at_provider),
        "{}",
        kind.name
    );
    assert!(
        upstream
            .last()
            .line
            .starts_with("POST /v1/chat/completions ")
    );
}

#[test]
fn a_stream_requests_usage_if_the_provider_supports_it() {
    on_both_drivers(|driver| {
        let upstream = Upstream::echo();
        let gateway = Setup::new(driver, one_of_each(&upstream, "")).start();
        for kind in kinds() {
            let knows = !kind.refuses.iter().any(|field| field == "stream_options");
            let body = with(ask_of(kind), "stream", true.into());
            let upstream_response = gateway.chat(&body);
            assert_eq!(
                upstream_response.content(),
                "answer to: hi",
                "{}",
                kind.name
            );
            let seen = upstream.last().json();
            assert_eq!(seen.get("stream_options").is_some(), knows, "{}", kind.name);
            // Asked for by the client, and for a field that is renamed: the two edits do not meet.
            let body = with(body, "stream_options", json!({"include_usage": true}));
            let upstream_response = gateway.chat(&with(body, "seed", json!(3)));
            assert_eq!(
                upstream_response.status, 200,
                "{}: {upstream_response:?}",
                kind.name
            );
            let dropped = upstream_response.header("x-ringside-dropped");
            assert_eq!(dropped, (!knows).then_some("stream_options"));
        }
    });
}

/// Streams as these providers are known to send them.
const STREAMS: [(&str, &str); 4] = [
    (
        "groq",
        "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\"},\"finish_reason\":null}]}\n\ndata: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}],\"x_groq\":{\"id\":\"r\",\"usage\":{\"prompt_tokens\":7,\"completion_tokens\":5,\"total_tokens\":12}}}\n\ndata: [DONE]\n\n",
    ),
    (
        "openrouter",
        ": OPENROUTER PROCESSING\n\n: OPENROUTER PROCESSING\n\ndata: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\"},\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":7,\"completion_tokens\":5}}\n\ndata: [DONE]\n\n",
    ),
    (
        "deepseek",
        "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":null,\"reasoning_content\":\"hm\"},\"finish_reason\":null}]}\n\ndata: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\"},\"finish_reason\":\"insufficient_system_resource\"}],\"usage\":{\"prompt_tokens\":7,\"completion_tokens\":5}}\n\ndata: [DONE]\n\n",
    ),
    (
        "mistral",
        "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":[{\"type\":\"thinking\",\"thinking\":[]}]},\"finish_reason\":null}]}\n\ndata: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\"},\"finish_reason\":\"model_length\"}],\"usage\":{\"prompt_tokens\":7,\"completion_tokens\":5}}\n\ndata: [DONE]\n\n",
    ),
];

#[test]
fn streams_are_unchanged_and_usage_is_found_wherever_a_provider_puts_it() {
    on_both_drivers(|driver| {
        let upstream = Upstream::start(|seen, stream| {
            let model = seen.json()["model"].as_str().unwrap().to_owned();
            let sent = STREAMS
                .iter()
                .find(|(kind, _)| model.starts_with(kind))
                .unwrap();
            let mut out = stream_head().to_vec();
            out.extend_from_slice(&chunk(sent.1));
            out.extend_from_slice(b"0\r\n\r\n");
            stream.write_all(&out).is_ok()
        });
        let gateway = Setup::new(driver, one_of_each(&upstream, "")).start();
        for (kind, sent) in STREAMS {
            let body = with(ask_stream("hi"), "model", kind.into());
            assert_eq!(gateway.chat(&body).text(), sent, "{kind}");
            let log = gateway.wait_for_log(|line| line["model"] == kind);
            assert_eq!(log["input_tokens"], 7, "{kind}: {log}");
            assert_eq!(log["output_tokens"], 5, "{kind}");
        }
    });
}

#[test]
fn errors_in_a_providers_own_envelope_are_translated_to_the_callers() {
    on_both_drivers(|driver| {
        let upstream =
            Upstream::start(|seen, stream| write_json(stream, 422, &own_error(&seen.question())));
        let gateway = Setup::new(driver, one_of_each(&upstream, "")).start();
        let reported = |model: &str, question: &str| {
            let upstream_response = gateway.chat(&with(ask(question), "model", model.into()));
            assert_eq!(upstream_response.status, 422);
            upstream_response.json()
        };
        assert_eq!(
            reported("mistral", "old")["error"]["message"],
            "no such model"
        );
        let message = reported("mistral", "new")["error"]["message"].to_string();
        assert!(message.contains("Extra inputs"), "{message}");
        // The error of a provider without a known envelope of its own is forwarded unchanged.
        assert_eq!(reported("groq", "old")["message"], "no such model");
    });
}
