//! Requests that continue a stored response.

use super::*;

#[test]
fn a_response_is_continued_with_its_provider_and_key_and_only_its_id_changes() {
    on_both_drivers(|driver| {
        let ((one, stored), (two, other)) = (ResponseStore::provider(), ResponseStore::provider());
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
        assert_eq!(seen.len(), 3, "not every API key was used: {seen:?}");
    });
}

#[test]
fn ids_in_streams_are_sealed_at_any_split() {
    on_both_drivers(|driver| {
        let (upstream, _) = ResponseStore::provider();
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
fn a_continued_request_is_sent_to_no_other_target() {
    on_both_drivers(|driver| {
        let stored = ResponseStore::default();
        let own_store = stored.clone();
        let limited = Upstream::start(move |seen, stream| {
            if seen.message.text().contains("previous_response_id") {
                return write_json(stream, 429, &json!({"error": {"message": "later"}}));
            }
            own_store.answer(seen, stream)
        });
        let (other, _) = ResponseStore::provider();
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
fn a_response_that_is_not_stored_is_unchanged_and_none_is_cached() {
    on_both_drivers(|driver| {
        let (upstream, _) = ResponseStore::provider();
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
