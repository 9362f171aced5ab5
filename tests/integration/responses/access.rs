//! Who reaches a stored response.

use super::*;

#[test]
fn another_tenant_cannot_reach_a_stored_response_or_see_that_it_exists() {
    on_both_drivers(|driver| {
        let (upstream, _) = ResponseStore::provider();
        let gateway = gateway(driver, &upstream, &["k-1"]);
        let id = id_of(&create(&gateway, "a", json!({})));
        let count = upstream.count();
        let mut forged = id.clone().into_bytes();
        let last = forged.last_mut().unwrap();
        *last = if *last == b'0' { b'1' } else { b'0' };
        let forged = String::from_utf8(forged).unwrap();
        // The id of another tenant, the provider's own id, an id with a wrong seal, an unknown id.
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
        assert_eq!(
            upstream.count(),
            count,
            "a request was sent to the provider"
        );
        assert_eq!(
            send(&gateway, "a", &format!("GET /v1/responses/{id}"), "").status,
            200
        );
    });
}

#[test]
fn teams_share_stored_responses_if_they_share_the_cache() {
    on_both_drivers(|driver| {
        let (upstream, _) = ResponseStore::provider();
        let config = format!("[cache]\nscope = \"team\"\n{}", config(&upstream, &["k-1"]));
        let gateway = Setup::new(driver, config).start_in(folder());
        let id = id_of(&create(&gateway, "a", json!({})));
        let get = |key| send(&gateway, key, &format!("GET /v1/responses/{id}"), "").status;
        assert_eq!((get("b"), get("c")), (200, 404));
    });
}

#[test]
fn ids_are_valid_after_a_restart_and_on_every_replica() {
    on_both_drivers(|driver| {
        let (upstream, _) = ResponseStore::provider();
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
        // Another API key is another account.
        let moved = start(&config.replace("\"file:k-1\", \"file:k-2\"", "\"file:k-3\""));
        assert_eq!(
            send(&moved, "a", &format!("GET /v1/responses/{id}"), "").status,
            404
        );
    });
}

#[test]
fn with_one_tenant_items_may_be_referenced_and_keyless_providers_may_store() {
    on_both_drivers(|driver| {
        let (upstream, _) = ResponseStore::provider();
        let open = format!("{}{}", site("one", &upstream, &[]), model("m", &["one"]));
        let gateway = Setup::new(driver, open.clone()).start();
        let id = id_of(&create(&gateway, "any", json!({})));
        let body = json!({"previous_response_id": id, "input": [{"type": "item_reference", "id": "msg_1"}]});
        assert_eq!(create(&gateway, "any", body).status, 200);
        // Without an API key there is nothing to seal ids with, and there are several tenants.
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
