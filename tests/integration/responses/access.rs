//! Who reaches a stored response.

use super::*;

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
