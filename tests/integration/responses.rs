//! Responses that a provider keeps: gone on from, asked for and deleted by who got them, at the provider
//! and with the API key that made them; by nobody else.

use crate::harness::*;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::io::Write;
use std::net::TcpStream;
use std::sync::{Arc, Mutex};

/// A provider that keeps answers by the API key that asked: id, and how often it was asked for.
#[derive(Clone, Default)]
struct Kept(Arc<Mutex<HashMap<String, String>>>);

impl Kept {
    fn provider() -> (Upstream, Self) {
        let stored = Self::default();
        let own = stored.clone();
        let answer = move |seen: &Seen, stream: &mut TcpStream| own.answer(seen, stream);
        (Upstream::start(answer), stored)
    }

    /// The key that made an answer.
    fn owner(&self, id: &str) -> Option<String> {
        self.0.lock().unwrap().get(id).cloned()
    }

    fn answer(&self, seen: &Seen, stream: &mut TcpStream) -> bool {
        let key = seen
            .header("authorization")
            .unwrap_or_default()
            .trim_start_matches("Bearer ")
            .to_owned();
        let line: Vec<&str> = seen.line.split(' ').collect();
        let (path, query) = line[1].split_once('?').unwrap_or((line[1], ""));
        let lacks = |id: &str| {
            let message = format!("Response with id '{id}' not found.");
            json!({"error": {"message": message, "type": "invalid_request_error", "param": null, "code": null}})
        };
        let Some(rest) = path.strip_prefix("/v1/responses/") else {
            let body = seen.json();
            let previous = body["previous_response_id"].as_str();
            if let Some(id) = previous.filter(|id| self.owner(id) != Some(key.clone())) {
                return write_json(stream, 400, &lacks(id));
            }
            let mut stored = self.0.lock().unwrap();
            let id = format!("resp_{}{}", key.replace('-', ""), stored.len());
            stored.insert(id.clone(), key);
            drop(stored);
            return if body["stream"] == true {
                write_bytewise(stream, &events(&id, previous))
            } else {
                let answer = text_of(&response(&id, previous, body["background"] == true));
                write_with(stream, 200, "application/json", answer.as_bytes())
            };
        };
        let (id, what) = rest.split_once('/').unwrap_or((rest, ""));
        if self.owner(id) != Some(key) {
            return write_json(stream, 404, &lacks(id));
        }
        match (line[0], what) {
            ("GET", "input_items") => write_json(
                stream,
                200,
                &json!({"object": "list", "data": [{"id": "msg_1"}], "first_id": "msg_1", "has_more": false, "query": query}),
            ),
            ("GET", "") if query.contains("stream=true") => {
                write_bytewise(stream, &events(id, None))
            }
            ("DELETE", "") => {
                self.0.lock().unwrap().remove(id);
                let gone = json!({"id": id, "object": "response", "deleted": true});
                write_json(stream, 200, &gone)
            }
            _ => write_json(stream, 200, &response(id, None, false)),
        }
    }
}

fn response(id: &str, previous: Option<&str>, queued: bool) -> Value {
    let usage = json!({"input_tokens": 7, "input_tokens_details": {"cached_tokens": 0}, "output_tokens": 5,
        "output_tokens_details": {"reasoning_tokens": 0}, "total_tokens": 12});
    json!({"id": id, "object": "response", "created_at": 1, "status": if queued { "queued" } else { "completed" },
        "model": "up-model", "previous_response_id": previous, "metadata": {"id": id},
        "output": [{"id": "msg_1", "type": "message", "role": "assistant", "status": "completed",
            "content": [{"type": "output_text", "text": "caf\u{e9}", "annotations": []}]}],
        "usage": if queued { Value::Null } else { usage }})
}

/// As no serializer of ours writes it.
fn text_of(answer: &Value) -> String {
    answer
        .to_string()
        .replace("\":", "\" : ")
        .replace('é', "\\u00e9")
}

fn events(id: &str, previous: Option<&str>) -> String {
    let whole = response(id, previous, false);
    let begun = response(id, previous, true);
    let event = |name: &str, more: Value| {
        let mut event = json!({"type": name});
        event
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        format!("event: {name}\ndata: {event}\n\n")
    };
    [
        event("response.created", json!({"response": begun})),
        ": a comment\r\n\r\n".to_owned(),
        event(
            "response.output_text.delta",
            json!({"item_id": "msg_1", "delta": format!("\"response\" {id}")}),
        ),
        event("response.completed", json!({"response": whole})),
    ]
    .concat()
    .replace('é', "\\u00e9")
}

/// Each byte in a chunk of its own.
fn write_bytewise(stream: &mut TcpStream, text: &str) -> bool {
    let mut fine = stream.write_all(stream_head()).is_ok();
    for byte in text.chars() {
        fine &= stream.write_all(&chunk(&byte.to_string())).is_ok();
    }
    fine && stream.write_all(b"0\r\n\r\n").is_ok()
}

/// Files with the keys: of callers, and of the accounts at the providers.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for name in ["a", "b", "c", "k-1", "k-2", "k-3"] {
        std::fs::write(folder.path().join(name), format!("sk-{name}")).unwrap();
    }
    folder
}

const KEYS: &str = "[[keys]]\nname = \"a\"\nteam = \"t\"\nsecret = \"file:a\"\n[[keys]]\nname = \"b\"\nteam = \"t\"\nsecret = \"file:b\"\n[[keys]]\nname = \"c\"\nsecret = \"file:c\"\n";

fn site(name: &str, upstream: &Upstream, keys: &[&str]) -> String {
    let keys: Vec<String> = keys.iter().map(|key| format!("\"file:{key}\"")).collect();
    let more = format!("responses = \"pass\"\napi_keys = [{}]", keys.join(", "));
    provider(name, &upstream.address.to_string(), &more)
}

/// One provider with these API keys, one model at it, and three callers.
fn config(upstream: &Upstream, keys: &[&str]) -> String {
    let site = site("one", upstream, keys);
    format!("{site}{}{KEYS}", model("m", &["one"]))
}

fn gateway(driver: &str, upstream: &Upstream, keys: &[&str]) -> Gateway {
    Setup::new(driver, config(upstream, keys)).start_in(folder())
}

/// Asks as one caller.
fn send(gateway: &Gateway, key: &str, line: &str, body: &str) -> Response {
    let mut client = gateway.connect();
    let length = body.len();
    client.send(
        format!("{line} HTTP/1.1\r\nhost: t\r\nauthorization: Bearer sk-{key}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}")
            .as_bytes(),
    );
    client.response()
}

fn create(gateway: &Gateway, key: &str, more: Value) -> Response {
    let mut body = json!({"model": "m", "input": "x"});
    body.as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    send(gateway, key, "POST /v1/responses", &body.to_string())
}

fn id_of(reply: &Response) -> String {
    assert_eq!(reply.status, 200, "{reply:?}");
    reply.json()["id"].as_str().unwrap().to_owned()
}

/// The provider's own id: the seal is `_` and 32 digits.
fn own(id: &str) -> &str {
    &id[..id.len() - 33]
}

#[test]
fn an_answer_goes_on_where_it_was_made_and_nothing_but_its_id_is_altered() {
    on_both_drivers(|driver| {
        let ((one, stored), (two, other)) = (Kept::provider(), Kept::provider());
        let config = format!(
            "{}{}{}{KEYS}",
            site("one", &one, &["k-1", "k-2"]),
            site("two", &two, &["k-3"]),
            model("m", &["one", "two"])
                .replace("name = \"m\"", "name = \"m\"\npolicy = \"weighted\"")
        );
        let gateway = Setup::new(driver, config).start_in(folder());
        let mut seen = std::collections::HashSet::new();
        for _ in 0..24 {
            let first = create(&gateway, "a", json!({}));
            let id = id_of(&first);
            let target = first.header("x-ringside-target").unwrap().to_owned();
            let (upstream, stored) = match target.as_str() {
                "one/m-at-one" => (&one, &stored),
                _ => (&two, &other),
            };
            let owner = stored.owner(own(&id)).unwrap();
            let expected = text_of(&response(own(&id), None, false));
            let sealed = expected.replacen(
                &format!("\"id\" : \"{}\",\"metadata", own(&id)),
                &format!("\"id\" : \"{id}\",\"metadata"),
                1,
            );
            assert_eq!(first.text(), sealed);
            let body = format!(
                "{{ \"previous_response_id\" : \"{id}\",\"model\":\"m\" , \"input\":\"\\u00e9\",\"x\":1.50}}"
            );
            let next = send(&gateway, "a", "POST /v1/responses", &body);
            assert_eq!(next.json()["previous_response_id"], id, "{next:?}");
            assert_eq!(next.header("x-ringside-target"), Some(target.as_str()));
            assert_eq!(stored.owner(own(&id_of(&next))), Some(owner.clone()));
            let at = &target[target.find('/').unwrap() + 1..];
            assert_eq!(
                upstream.last().message.text(),
                body.replace(&id, own(&id))
                    .replace("\"m\"", &format!("\"{at}\""))
            );
            seen.insert(owner);
        }
        assert_eq!(seen.len(), 3, "not every key made answers: {seen:?}");
    });
}

#[test]
fn nobody_else_reaches_an_answer_nor_learns_that_it_is_there() {
    on_both_drivers(|driver| {
        let (upstream, _) = Kept::provider();
        let gateway = gateway(driver, &upstream, &["k-1"]);
        let id = id_of(&create(&gateway, "a", json!({})));
        let count = upstream.count();
        let mut forged = id.clone().into_bytes();
        let last = forged.last_mut().unwrap();
        *last = if *last == b'0' { b'1' } else { b'0' };
        let forged = String::from_utf8(forged).unwrap();
        // Another's, the provider's own, one with a wrong seal, one that never was.
        let never = format!("resp_never_{}", "0".repeat(32));
        for (key, id) in [
            ("b", id.as_str()),
            ("c", &id),
            ("a", own(&id)),
            ("a", &forged),
            ("a", &never),
            ("a", "x"),
        ] {
            let reported = |reply: Response| {
                let text = reply.text().replace(id, "ID");
                (reply.status, text)
            };
            let body = json!({"error": {"message": "Previous response with id 'ID' not found.", "type": "invalid_request_error",
                "param": "previous_response_id", "code": "previous_response_not_found"}});
            let found = reported(create(&gateway, key, json!({"previous_response_id": id})));
            assert_eq!(
                (found.0, serde_json::from_str::<Value>(&found.1).unwrap()),
                (400, body)
            );
            let body = json!({"error": {"message": "Response with id 'ID' not found.", "type": "invalid_request_error",
                "param": null, "code": "response_not_found"}});
            for line in [
                "GET /v1/responses/ID",
                "GET /v1/responses/ID?stream=true",
                "DELETE /v1/responses/ID",
                "POST /v1/responses/ID/cancel",
                "GET /v1/responses/ID/input_items",
            ] {
                let found = reported(send(&gateway, key, &line.replace("ID", id), ""));
                assert_eq!(
                    (found.0, serde_json::from_str::<Value>(&found.1).unwrap()),
                    (404, body.clone()),
                    "{line}"
                );
            }
        }
        let escaped = id.replacen("resp", "r\\u0065sp", 1);
        let body =
            format!("{{\"model\":\"m\",\"input\":\"x\",\"previous_response_id\":\"{escaped}\"}}");
        assert_eq!(send(&gateway, "a", "POST /v1/responses", &body).status, 400);
        assert_eq!(upstream.count(), count, "the provider was asked");
        assert_eq!(
            send(&gateway, "a", &format!("GET /v1/responses/{id}"), "").status,
            200
        );
    });
}

#[test]
fn teams_share_answers_where_they_share_the_cache() {
    on_both_drivers(|driver| {
        let (upstream, _) = Kept::provider();
        let config = format!("[cache]\nscope = \"team\"\n{}", config(&upstream, &["k-1"]));
        let gateway = Setup::new(driver, config).start_in(folder());
        let id = id_of(&create(&gateway, "a", json!({})));
        let get = |key| send(&gateway, key, &format!("GET /v1/responses/{id}"), "").status;
        assert_eq!((get("b"), get("c")), (200, 404));
    });
}

#[test]
fn ids_outlive_the_process_and_all_replicas_know_them() {
    on_both_drivers(|driver| {
        let (upstream, _) = Kept::provider();
        let config = config(&upstream, &["k-1", "k-2"]);
        let start = |config: &str| Setup::new(driver, config).start_in(folder());
        let first = start(&config);
        let id = id_of(&create(&first, "a", json!({})));
        drop(first);
        let second = start(&config);
        assert_eq!(
            id_of(&send(&second, "a", &format!("GET /v1/responses/{id}"), "")),
            id
        );
        let third = start(&config);
        let next = id_of(&create(&third, "a", json!({"previous_response_id": id})));
        assert_eq!(
            id_of(&send(
                &second,
                "a",
                &format!("GET /v1/responses/{next}"),
                ""
            )),
            next
        );
        // With another API key the account is another.
        let moved = start(&config.replace("\"file:k-1\", \"file:k-2\"", "\"file:k-3\""));
        assert_eq!(
            send(&moved, "a", &format!("GET /v1/responses/{id}"), "").status,
            404
        );
    });
}

#[test]
fn what_is_kept_is_asked_for_cancelled_and_deleted() {
    on_both_drivers(|driver| {
        let (upstream, stored) = Kept::provider();
        let gateway = gateway(driver, &upstream, &["k-1", "k-2"]);
        let begun = create(&gateway, "a", json!({"background": true}));
        let id = id_of(&begun);
        assert_eq!(begun.json()["status"], "queued");
        for (line, at) in [
            (
                "GET /v1/responses/ID?include[]=reasoning.encrypted_content",
                "GET /v1/responses/OWN?include[]=reasoning.encrypted_content HTTP/1.1",
            ),
            (
                "POST /v1/responses/ID/cancel",
                "POST /v1/responses/OWN/cancel HTTP/1.1",
            ),
        ] {
            let reply = send(&gateway, "a", &line.replace("ID", &id), "");
            assert_eq!(id_of(&reply), id);
            assert_eq!(reply.header("x-ringside-target"), Some("one/*"));
            let seen = upstream.last();
            assert_eq!(seen.line, at.replace("OWN", own(&id)));
            let owner = format!("Bearer {}", stored.owner(own(&id)).unwrap());
            assert_eq!(seen.header("authorization"), Some(owner.as_str()));
        }
        let items = send(
            &gateway,
            "a",
            &format!("GET /v1/responses/{id}/input_items?limit=2&after=msg_0"),
            "",
        );
        assert_eq!(items.json()["query"], "limit=2&after=msg_0");
        assert_eq!(items.json()["data"][0]["id"], "msg_1");
        let gone = send(&gateway, "a", &format!("DELETE /v1/responses/{id}"), "");
        assert_eq!(
            gone.json(),
            json!({"id": id, "object": "response", "deleted": true})
        );
        // The provider's own refusal, about the id that the caller knows.
        let missing = send(&gateway, "a", &format!("GET /v1/responses/{id}"), "");
        assert_eq!(
            (missing.status, missing.error().1),
            (404, format!("Response with id '{id}' not found."))
        );
        for (line, status) in [
            ("POST /v1/responses/ID", 405),
            ("GET /v1/responses/ID/cancel", 405),
            ("GET /v1/responses/ID/x", 404),
            ("GET /v1/responses/", 404),
        ] {
            assert_eq!(
                send(&gateway, "a", &line.replace("ID", &id), "").status,
                status,
                "{line}"
            );
        }
        // Reading an answer buys nothing.
        let log = gateway.wait_for_log(|line| line["operation"] == "responses");
        assert!(log["input_tokens"].is_null(), "{log}");
    });
}

#[test]
fn streams_are_sealed_wherever_they_are_split() {
    on_both_drivers(|driver| {
        let (upstream, _) = Kept::provider();
        let gateway = gateway(driver, &upstream, &["k-1"]);
        let first = id_of(&create(&gateway, "a", json!({})));
        let reply = create(
            &gateway,
            "a",
            json!({"stream": true, "previous_response_id": first}),
        );
        let id = reply.events()[0]["response"]["id"]
            .as_str()
            .unwrap()
            .to_owned();
        let expected = |previous: Option<&str>| {
            let plain = events(own(&id), previous);
            let at = format!("\"id\":\"{}\",\"metadata", own(&id));
            let plain = plain.replace(&at, &format!("\"id\":\"{id}\",\"metadata"));
            plain.replace(
                &format!("\"previous_response_id\":\"{}\"", own(&first)),
                &format!("\"previous_response_id\":\"{first}\""),
            )
        };
        assert_eq!(reply.text(), expected(Some(own(&first))));
        let again = send(
            &gateway,
            "a",
            &format!("GET /v1/responses/{id}?stream=true&starting_after=0"),
            "",
        );
        assert_eq!(again.text(), expected(None));
        assert!(
            upstream
                .last()
                .line
                .ends_with("?stream=true&starting_after=0 HTTP/1.1")
        );
        let log =
            gateway.wait_for_log(|line| line["stream"] == true && line["operation"] == "chat");
        assert_eq!(log["input_tokens"], 7);
    });
}

#[test]
fn who_goes_on_is_sent_nowhere_else() {
    on_both_drivers(|driver| {
        let stored = Kept::default();
        let own_kept = stored.clone();
        let limited = Upstream::start(move |seen, stream| {
            if seen.message.text().contains("previous_response_id") {
                return write_json(stream, 429, &json!({"error": {"message": "later"}}));
            }
            own_kept.answer(seen, stream)
        });
        let (other, _) = Kept::provider();
        let config = format!(
            "{}{}{}{KEYS}",
            site("one", &limited, &["k-1", "k-2"]),
            site("two", &other, &["k-3"]),
            model("m", &["one", "two"])
        );
        let gateway = Setup::new(driver, config).start_in(folder());
        let id = id_of(&create(&gateway, "a", json!({})));
        let before = limited.count();
        let reply = create(&gateway, "a", json!({"previous_response_id": id}));
        assert_eq!(reply.status, 429, "{reply:?}");
        assert_eq!((limited.count() - before, other.count()), (1, 0));
    });
}

#[test]
fn what_no_provider_keeps_is_refused_by_name_before_anything_is_sent() {
    on_both_drivers(|driver| {
        let ((native, _), plain) = (Kept::provider(), Upstream::echo());
        let config = format!(
            "{}{}{}{}{}{KEYS}",
            site("one", &native, &["k-1"]),
            plain.provider("plain"),
            model("m", &["one"]),
            model("translated", &["plain"]),
            model("both", &["plain", "one"])
        );
        let gateway = Setup::new(driver, config).start_in(folder());
        let id = id_of(&create(&gateway, "a", json!({})));
        let count = native.count();
        let item =
            json!([{"role": "user", "content": "x"}, {"type": "item_reference", "id": "msg_1"}]);
        let thought = json!([{"type": "reasoning", "id": "rs_1", "summary": []}]);
        for (model, more, param) in [
            (
                "translated",
                json!({"previous_response_id": id}),
                "previous_response_id",
            ),
            ("translated", json!({"background": true}), "background"),
            ("m", json!({"conversation": "conv_1"}), "conversation"),
            ("m", json!({"input": item}), "input[1]"),
            ("m", json!({"input": thought}), "input[0]"),
            ("m", json!({"request_id": "resp_1"}), "request_id"),
            (
                "both",
                json!({"input": thought, "background": true}),
                "input[0]",
            ),
        ] {
            let reply = create(&gateway, "a", with(more.clone(), "model", model.into()));
            let error = &reply.json()["error"];
            assert_eq!(
                (reply.status, &error["code"], &error["param"]),
                (400, &json!("stateful_not_supported"), &json!(param)),
                "{more}"
            );
        }
        assert_eq!((native.count(), plain.count()), (count, 0));
        // One of two targets keeps answers: that one is asked.
        let begun = create(&gateway, "a", json!({"model": "both", "background": true}));
        assert_eq!(begun.header("x-ringside-target"), Some("one/both-at-one"));
        // The other one has nothing that is another's.
        let said = create(
            &gateway,
            "a",
            json!({"model": "both", "input": [{"role": "user", "content": "x"}, thought[0]]}),
        );
        assert_eq!(
            said.header("x-ringside-target"),
            Some("plain/both-at-plain"),
            "{said:?}"
        );
        let seen = native.count();
        let elsewhere = create(&gateway, "a", json!({"model": "translated", "store": true}));
        assert_eq!((elsewhere.status, native.count()), (200, seen));
    });
}

#[test]
fn with_one_tenant_items_may_be_named_and_keyless_servers_keep_answers() {
    on_both_drivers(|driver| {
        let (upstream, _) = Kept::provider();
        let open = format!("{}{}", site("one", &upstream, &[]), model("m", &["one"]));
        let gateway = Setup::new(driver, open.clone()).start();
        let id = id_of(&create(&gateway, "any", json!({})));
        let body = json!({"previous_response_id": id, "input": [{"type": "item_reference", "id": "msg_1"}]});
        assert_eq!(create(&gateway, "any", body).status, 200);
        // Nothing to seal with, and others to seal from.
        let shared = Setup::new(driver, format!("{open}{KEYS}")).start_in(folder());
        let plain = id_of(&create(&shared, "a", json!({})));
        assert_eq!(
            send(&shared, "a", &format!("GET /v1/responses/{plain}"), "").status,
            404
        );
        let reply = create(&shared, "a", json!({"background": true}));
        assert_eq!(
            (reply.status, reply.error().0.as_str()),
            (400, "stateful_not_supported")
        );
    });
}

#[test]
fn what_is_not_kept_is_not_touched_and_nothing_is_answered_twice() {
    on_both_drivers(|driver| {
        let (upstream, _) = Kept::provider();
        let gateway = gateway(driver, &upstream, &["k-1"]);
        let reply = create(&gateway, "a", json!({"store": false}));
        assert_eq!(reply.text(), text_of(&response("resp_skk10", None, false)));
        let id = id_of(&create(&gateway, "a", json!({})));
        let ids: Vec<String> = (0..3)
            .map(|_| {
                let reply = create(&gateway, "a", json!({"previous_response_id": id}));
                assert_eq!(reply.cache(), "bypass");
                id_of(&reply)
            })
            .collect();
        assert!(ids[0] != ids[1] && ids[1] != ids[2]);
        assert_eq!(upstream.count(), 5);
    });
}
