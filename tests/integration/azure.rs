//! Azure OpenAI: paths of both generations, its header, its filter, its first chunk without choices.

use crate::harness::*;
use serde_json::json;
use std::io::Write;

fn config(upstream: &Upstream, keys: &str) -> String {
    format!(
        "[cache]\nenabled = false\n[[providers]]\nname = \"az\"\nkind = \"azure\"\nbase_url = \"http://{}\"\napi_keys = [\"file:azure.key\"]\n{keys}\n[[models]]\nname = \"m\"\ntargets = [{{ provider = \"az\", model = \"my deployment\" }}]\n",
        upstream.address
    )
    .replace("my deployment", "my-deployment+1")
}

fn start(driver: &str, config: String) -> Gateway {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("azure.key"), "az-secret").unwrap();
    Setup::new(driver, config).start_in(folder)
}

#[test]
fn both_generations_get_requests_in_azures_form() {
    on_both_drivers(|driver| {
        let upstream = Upstream::echo();
        for (keys, path) in [
            ("", "/openai/v1/"),
            (
                "api_version = \"2024-10-21\"",
                "/openai/deployments/my-deployment%2B1/",
            ),
        ] {
            let gateway = start(driver, config(&upstream, keys));
            let reply = gateway.chat(&ask("hi"));
            assert_eq!(reply.content(), "answer to: hi");
            assert_eq!(
                reply.header("x-ringside-target"),
                Some("az/my-deployment+1")
            );
            let seen = upstream.last();
            let query = if keys.is_empty() {
                ""
            } else {
                "?api-version=2024-10-21"
            };
            let line = format!("POST {path}chat/completions{query} HTTP/1.1");
            assert_eq!(seen.line, line);
            assert_eq!(seen.header("api-key"), Some("az-secret"));
            assert_eq!(seen.header("authorization"), None);
            assert_eq!(seen.json()["model"], "my-deployment+1");
            gateway.post("/v1/embeddings", &json!({"model": "m", "input": "x"}));
            let line = format!("POST {path}embeddings{query} HTTP/1.1");
            assert_eq!(upstream.last().line, line);
        }
    });
}

/// Gives one token, and answers anything else as Azure would.
fn with_entra(driver: &str, keys: &str) -> (Upstream, Upstream, Gateway) {
    let tokens = Upstream::start(|_, stream| {
        let body = json!({"token_type": "Bearer", "expires_in": 3600, "access_token": "token-1"});
        write_json(stream, 200, &body)
    });
    let upstream = Upstream::start(|seen, stream| match seen.header("authorization") {
        Some("Bearer token-1") => write_json(stream, 200, &chat_response("let in")),
        _ => write_json(
            stream,
            401,
            &json!({"error": {"code": "401", "message": "Access denied"}}),
        ),
    });
    let auth = format!(
        "auth = {{ kind = \"entra\", tenant = \"t-1\", client_id = \"app\", client_secret = \"file:azure.key\", authority = \"http://{}\" }}\n{keys}",
        tokens.address
    );
    let text = config(&upstream, &auth).replace("api_keys = [\"file:azure.key\"]\n", "");
    let gateway = start(driver, text);
    (tokens, upstream, gateway)
}

#[test]
fn an_entra_token_is_used_for_both_generations_and_passthrough() {
    on_both_drivers(|driver| {
        for (keys, base, version) in [
            ("", "/openai/v1", ""),
            (
                "api_version = \"2024-10-21\"",
                "/openai",
                "api-version=2024-10-21",
            ),
        ] {
            let (tokens, upstream, gateway) = with_entra(driver, keys);
            let reply = gateway.chat(&ask("hi"));
            assert_eq!(reply.content(), "let in", "{reply:?}");
            let sent = tokens.last();
            assert_eq!(sent.line, "POST /t-1/oauth2/v2.0/token HTTP/1.1");
            let scope = "scope=https%3A%2F%2Fcognitiveservices.azure.com%2F.default";
            assert!(sent.message.text().contains(scope));
            // Every endpoint gets the token in its header, and no API key.
            let embeddings = json!({"model": "m", "input": "x"});
            assert_eq!(gateway.post("/v1/embeddings", &embeddings).status, 200);
            assert_eq!(gateway.post("/v1/files?limit=1", &json!({})).status, 200);
            let named = "/providers/az/openai/v1/responses?x=1";
            assert_eq!(gateway.post(named, &json!({})).status, 200);
            let seen = upstream.seen.lock().unwrap().clone();
            for one in &seen {
                assert_eq!(one.header("authorization"), Some("Bearer token-1"));
                assert_eq!(one.header("api-key"), None);
            }
            let both = [version, "limit=1"];
            let both: Vec<_> = both.into_iter().filter(|one| !one.is_empty()).collect();
            let files = format!("POST {base}/files?{} HTTP/1.1", both.join("&"));
            assert_eq!(seen[2].line, files);
            assert_eq!(seen[3].line, "POST /openai/v1/responses?x=1 HTTP/1.1");
            assert_eq!((tokens.count(), seen.len()), (1, 4));
        }
    });
}

const FILTERED: &str = "data: {\"choices\":[],\"created\":0,\"id\":\"\",\"model\":\"\",\"object\":\"\",\"prompt_filter_results\":[{\"prompt_index\":0,\"content_filter_results\":{\"hate\":{\"filtered\":false,\"severity\":\"safe\"}}}]}\n\ndata: {\"choices\":[{\"content_filter_results\":{},\"delta\":{\"content\":\"hi\"},\"finish_reason\":null,\"index\":0}],\"id\":\"c\",\"object\":\"chat.completion.chunk\"}\n\ndata: {\"choices\":[{\"content_filter_results\":{},\"delta\":{},\"finish_reason\":\"stop\",\"index\":0}],\"id\":\"c\",\"object\":\"chat.completion.chunk\"}\n\n";
const USAGE: &str = "data: {\"choices\":[],\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"usage\":{\"prompt_tokens\":7,\"completion_tokens\":5,\"total_tokens\":12}}\n\n";

#[test]
fn a_first_chunk_without_choices_survives() {
    on_both_drivers(|driver| {
        let upstream = Upstream::start(|_, stream| {
            let mut out = stream_head().to_vec();
            out.extend_from_slice(&chunk(&format!("{FILTERED}{USAGE}data: [DONE]\n\n")));
            out.extend_from_slice(b"0\r\n\r\n");
            stream.write_all(&out).is_ok()
        });
        let gateway = start(driver, config(&upstream, ""));
        let reply = gateway.chat(&ask_stream("hi"));
        assert_eq!(reply.text(), format!("{FILTERED}data: [DONE]\n\n"));
        let log = gateway.wait_for_log(|line| line["model"] == "m");
        assert_eq!(
            (&log["input_tokens"], &log["output_tokens"]),
            (&json!(7), &json!(5))
        );
        // And through a translation.
        let body = json!({"model": "m", "max_tokens": 9, "stream": true, "messages": [{"role": "user", "content": "hi"}]});
        let reported = gateway.post("/v1/messages", &body).text();
        assert!(
            reported.contains("\"text\":\"hi\"") && reported.contains("message_stop"),
            "{reported}"
        );
    });
}

#[test]
fn what_the_filter_refuses_goes_to_the_model_for_that() {
    on_both_drivers(|driver| {
        let filter = Upstream::start(|_, stream| {
            let body = json!({"error": {"message": "The response was filtered", "type": null, "param": "prompt",
                "code": "content_filter", "status": 400, "innererror": {"code": "ResponsibleAIPolicyViolation",
                "content_filter_result": {"hate": {"filtered": true, "severity": "high"}}}}});
            write_json(stream, 400, &body)
        });
        let other = Upstream::echo();
        let config = format!(
            "{}fallback = {{ content_policy = \"other\" }}\n{}{}",
            config(&filter, "api_version = \"2024-10-21\""),
            other.provider("up"),
            model("other", &["up"])
        );
        let gateway = start(driver, config);
        let reply = gateway.chat(&ask("hi"));
        assert_eq!(reply.content(), "answer to: hi");
        assert_eq!((filter.count(), other.count()), (1, 1));
        assert_eq!(reply.header("x-ringside-target"), Some("up/other-at-up"));
    });
}
