//! What may be done with stored responses, and what is refused where none are stored.

use super::*;

#[test]
fn a_stored_response_can_be_read_cancelled_and_deleted() {
    on_both_drivers(|driver| {
        let (upstream, stored) = ResponseStore::provider();
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
        // The provider's own error names the id that the caller knows.
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
        // Reading a response uses no tokens.
        let log = gateway.wait_for_log(|line| line["operation"] == "responses");
        assert!(log["input_tokens"].is_null(), "{log}");
    });
}

#[test]
fn requests_that_need_storage_are_refused_by_field_where_nothing_is_stored() {
    on_both_drivers(|driver| {
        let ((native, _), plain) = (ResponseStore::provider(), Upstream::echo());
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
        // One of two targets stores responses: it gets the request.
        let begun = create(&gateway, "a", json!({"model": "both", "background": true}));
        assert_eq!(begun.header("x-ringside-target"), Some("one/both-at-one"));
        // The other target stores nothing, so it may get any item.
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
