//! Requests that continue a stored response.

use super::*;

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
