//! Translations there and back: nothing is lost, and tokens are counted once.

use super::*;

/// Numbers in a fixed order that looks drawn (xorshift).
struct Drawn(u64);

impl Drawn {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }

    fn text(&mut self) -> String {
        let pieces = ["a", "é", "\"", "\\", "\n", "😀", " ", "\u{1}", "<b>", "{}"];
        let length = 1 + self.below(12);
        (0..length)
            .map(|_| pieces[self.below(10) as usize])
            .collect()
    }
}

/// A conversation that both dialects can express: alternating turns with calls and their results.
fn conversation(drawn: &mut Drawn) -> serde_json::Value {
    use serde_json::json;
    let mut messages = vec![json!({"role": "system", "content": drawn.text()})];
    for turn in 0..1 + drawn.below(4) {
        messages.push(json!({"role": "user", "content": drawn.text()}));
        if drawn.below(2) == 0 {
            messages.push(json!({"role": "assistant", "content": drawn.text()}));
            continue;
        }
        let ids: Vec<String> = (0..1 + drawn.below(3))
            .map(|at| format!("call_{turn}_{at}"))
            .collect();
        let calls: Vec<_> = ids
            .iter()
            .map(|id| {
                let arguments = json!({ "x": drawn.text(), "n": drawn.below(99) }).to_string();
                json!({"id": id, "type": "function", "function": {"name": "f", "arguments": arguments}})
            })
            .collect();
        messages.push(json!({"role": "assistant", "content": drawn.text(), "tool_calls": calls}));
        for id in ids {
            messages.push(json!({"role": "tool", "tool_call_id": id, "content": drawn.text()}));
        }
        messages.push(json!({"role": "assistant", "content": drawn.text()}));
    }
    messages.push(json!({"role": "user", "content": drawn.text()}));
    json!({
        "model": MODEL,
        "messages": messages,
        "tools": [{"type": "function", "function": {"name": "f", "description": drawn.text(), "parameters": {"type": "object", "properties": {"x": {"type": "string"}}}}}],
        "max_completion_tokens": 1 + drawn.below(1000),
        "temperature": 0.5,
        "stop": [drawn.text()],
        "user": drawn.text(),
    })
}

/// Translates a request of OpenAI's dialect to another and back.
fn there_and_back(name: &str, sent: &str) -> (serde_json::Value, Option<String>) {
    let (openai, other) = (client_api("openai"), client_api(name));
    let (to, back) = (provider_api(name).unwrap(), provider_api("openai").unwrap());
    let (mut scratch, mut unsupported) = (Scratch::default(), UnsupportedFields::new(false));
    let mut translated = |client_api: &dyn ClientApi, to: &dyn ProviderApi, body: &[u8]| {
        let (request, mut out) = (client_request(client_api, body), Vec::new());
        let outcome = translate_body::translate_request(
            &request,
            to,
            MODEL,
            &mut unsupported,
            &mut scratch,
            &mut out,
        );
        outcome.unwrap();
        out
    };
    let there = translated(openai, to, sent.as_bytes());
    let again = translated(other, back, &there);
    (
        serde_json::from_slice(&again).unwrap(),
        unsupported.header(),
    )
}

#[test]
fn a_translation_there_and_back_is_the_same_request() {
    let mut drawn = Drawn(0x9e37_79b9_7f4a_7c15);
    for _ in 0..500 {
        let sent = conversation(&mut drawn);
        let body = sent.to_string();
        assert_eq!(there_and_back("anthropic", &body), (sent.clone(), None));
        let (mut got, unsupported) = there_and_back("gemini", &body);
        // Gemini has no field for the user.
        got["user"] = sent["user"].clone();
        assert_eq!((got, unsupported.as_deref()), (sent, Some("user")));
    }
}

/// Converse counts as Anthropic's dialect does, under other names.
#[test]
fn tokens_of_converse_are_neither_lost_nor_invented() {
    let mut drawn = Drawn(11);
    let bedrock = provider_api("bedrock").unwrap();
    for _ in 0..200 {
        let [plain, read, write, output] = [0; 4].map(|_| drawn.below(999));
        let said = serde_json::json!({
            "output": {"message": {"role": "assistant", "content": [{"text": drawn.text()}]}},
            "stopReason": "end_turn", "metrics": {"latencyMs": 1},
            "usage": {"inputTokens": plain, "outputTokens": output, "totalTokens": plain + output,
                "cacheReadInputTokens": read, "cacheWriteInputTokens": write},
        });
        let said = said.to_string();
        let (_, chat) = whole(client_api("openai"), bedrock, 200, said.as_bytes());
        let value: serde_json::Value = serde_json::from_str(&chat).unwrap();
        assert_eq!(value["usage"]["prompt_tokens"], plain + read + write);
        assert_eq!(value["usage"]["completion_tokens"], output);
        assert_eq!(
            value["usage"]["prompt_tokens_details"]["cached_tokens"],
            read
        );
        let (_, message) = whole(client_api("anthropic"), bedrock, 200, said.as_bytes());
        let value: serde_json::Value = serde_json::from_str(&message).unwrap();
        assert_eq!(value["usage"]["input_tokens"], plain);
        assert_eq!(value["usage"]["cache_read_input_tokens"], read);
        assert_eq!(value["usage"]["cache_creation_input_tokens"], write);
    }
}

#[test]
fn tokens_are_neither_lost_nor_invented() {
    let mut drawn = Drawn(7);
    let (openai, anthropic) = (client_api("openai"), client_api("anthropic"));
    for _ in 0..200 {
        let (plain, read, write, output) = (
            drawn.below(999),
            drawn.below(999),
            drawn.below(999),
            drawn.below(999),
        );
        let said = serde_json::json!({
            "id": "m", "type": "message", "role": "assistant", "model": "m", "content": [],
            "stop_reason": "end_turn", "stop_sequence": null,
            "usage": {"input_tokens": plain, "cache_read_input_tokens": read, "cache_creation_input_tokens": write, "output_tokens": output},
        });
        let (_, chat) = whole(
            openai,
            provider_api("anthropic").unwrap(),
            200,
            said.to_string().as_bytes(),
        );
        let value: serde_json::Value = serde_json::from_str(&chat).unwrap();
        assert_eq!(value["usage"]["prompt_tokens"], plain + read + write);
        assert_eq!(
            value["usage"]["total_tokens"],
            plain + read + write + output
        );
        let (_, message) = whole(
            anthropic,
            provider_api("openai").unwrap(),
            200,
            chat.as_bytes(),
        );
        let value: serde_json::Value = serde_json::from_str(&message).unwrap();
        assert_eq!(value["usage"], said["usage"]);
    }
}

#[test]
fn thinking_is_neither_lost_nor_counted_twice() {
    let mut drawn = Drawn(11);
    let (openai, gemini) = (client_api("openai"), client_api("gemini"));
    for _ in 0..200 {
        let (plain, cached) = (drawn.below(999), drawn.below(999));
        let (said, thought) = (1 + drawn.below(999), drawn.below(999));
        let usage = serde_json::json!({
            "promptTokenCount": plain + cached, "cachedContentTokenCount": cached,
            "candidatesTokenCount": said, "thoughtsTokenCount": thought,
            "totalTokenCount": plain + cached + said + thought,
        });
        let content = serde_json::json!({"parts": [{"text": "x"}], "role": "model"});
        let response = serde_json::json!({"candidates": [{"content": content, "finishReason": "STOP"}], "usageMetadata": usage});
        let (_, chat) = whole(
            openai,
            provider_api("gemini").unwrap(),
            200,
            response.to_string().as_bytes(),
        );
        let value: serde_json::Value = serde_json::from_str(&chat).unwrap();
        assert_eq!(value["usage"]["prompt_tokens"], plain + cached);
        assert_eq!(value["usage"]["completion_tokens"], said + thought);
        let (_, back) = whole(
            gemini,
            provider_api("openai").unwrap(),
            200,
            chat.as_bytes(),
        );
        let value: serde_json::Value = serde_json::from_str(&back).unwrap();
        let count = |name: &str| value["usageMetadata"][name].as_u64().unwrap_or(0);
        assert_eq!(count("candidatesTokenCount"), said);
        for name in [
            "promptTokenCount",
            "cachedContentTokenCount",
            "thoughtsTokenCount",
            "totalTokenCount",
        ] {
            assert_eq!(count(name), usage[name].as_u64().unwrap(), "{name}");
        }
    }
}

/// A request of each client's dialect, with `number` as seed or temperature, in a tool's schema and in its arguments.
fn requests_with(number: &str) -> [(&'static str, String); 4] {
    let schema = format!(r#"{{"type":"object","properties":{{"x":{{"const":{number}}}}}}}"#);
    let arguments = format!(r#"{{"x":[{number}],"y":{{"z":{number}}}}}"#);
    let quoted = arguments.replace('"', "\\\"");
    [
        (
            "openai",
            format!(
                r#"{{"model":"m","messages":[{{"role":"user","content":"q"}},{{"role":"assistant","tool_calls":[
                {{"id":"c","type":"function","function":{{"name":"f","arguments":"{quoted}"}}}}]}},
                {{"role":"tool","tool_call_id":"c","content":"r"}}],
                "tools":[{{"type":"function","function":{{"name":"f","parameters":{schema}}}}}]}}"#
            ),
        ),
        (
            "anthropic",
            format!(
                r#"{{"model":"m","max_tokens":9,"messages":[{{"role":"user","content":"q"}},{{"role":"assistant","content":[
                {{"type":"tool_use","id":"c","name":"f","input":{arguments}}}]}},{{"role":"user","content":[
                {{"type":"tool_result","tool_use_id":"c","content":"r"}}]}}],
                "tools":[{{"name":"f","input_schema":{schema}}}]}}"#
            ),
        ),
        (
            "responses",
            format!(
                r#"{{"model":"m","store":false,"input":[{{"role":"user","content":"q"}},
                {{"type":"function_call","call_id":"c","name":"f","arguments":"{quoted}"}},
                {{"type":"function_call_output","call_id":"c","output":"r"}}],
                "tools":[{{"type":"function","name":"f","parameters":{schema}}}]}}"#
            ),
        ),
        (
            "gemini",
            format!(
                r#"{{"contents":[{{"role":"user","parts":[{{"text":"q"}}]}},{{"role":"model","parts":[
                {{"functionCall":{{"id":"c","name":"f","args":{arguments}}}}}]}},{{"role":"user","parts":[
                {{"functionResponse":{{"id":"c","name":"f","response":{{}}}}}}]}}],
                "tools":[{{"functionDeclarations":[{{"name":"f","parameters":{schema}}}]}}]}}"#
            ),
        ),
    ]
}

#[test]
fn numbers_cross_every_translation_with_their_digits() {
    for number in [
        "18446744073709551617",
        "-9223372036854775809",
        "0.10000000000000000001",
        "1.50",
        "-0",
        "6.02e23",
    ] {
        for (name, body) in requests_with(number) {
            for provider in PROVIDERS {
                let (mut scratch, mut out) = (Scratch::default(), Vec::new());
                let client_api = client_api(name);
                let prepared = client_api.normalize_request(body.as_bytes(), &mut scratch);
                let body = prepared.as_deref().unwrap_or(body.as_bytes());
                let mut unsupported = UnsupportedFields::new(true);
                let outcome = translate_body::translate_request(
                    &client_request(client_api, body),
                    *provider,
                    MODEL,
                    &mut unsupported,
                    &mut scratch,
                    &mut out,
                );
                outcome.unwrap();
                let written = exact(&out);
                let found = written.matches(&format!(":{number}")).count()
                    + written.matches(&format!("[{number}]")).count();
                assert_eq!(found, 3, "{name} to {}: {written}", provider.name());
            }
        }
    }
}
