//! Admission: who may call, and what.

use crate::harness::*;
use serde_json::json;

/// SHA-256 of `secret-b`.
fn sha256(text: &str) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, text.as_bytes());
    digest
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// Key `a` may use every model, key `b` only `other`.
fn with_two_keys(driver: &str, upstream: &Upstream) -> Gateway {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("a.key"), "secret-a").unwrap();
    let config = format!(
        "{}{}{}[[keys]]\nname = \"a\"\nsecret = \"file:a.key\"\nteam = \"pay\"\n[[keys]]\nname = \"b\"\nsha256 = \"{}\"\nmodels = [\"other\"]\n",
        upstream.provider("up"),
        model("m", &["up"]),
        model("other", &["up"]),
        sha256("secret-b"),
    );
    Setup::new(driver, config).start_in(folder)
}

#[test]
fn keys_open_their_models_and_nothing_else() {
    on_both_drivers(|driver| {
        let upstream = Upstream::echo();
        let gateway = with_two_keys(driver, &upstream);
        let call = |headers: &[(&str, &str)]| {
            gateway.post_with("/v1/chat/completions", headers, &ask("hello"))
        };
        assert_eq!(call(&[("authorization", "Bearer secret-a")]).status, 200);
        assert_eq!(call(&[("x-api-key", "secret-a")]).status, 200);
        assert_eq!(call(&[("api-key", "secret-a")]).status, 200);
        let in_query = |key: &str| {
            let body = json!({"contents": [{"parts": [{"text": "hello"}]}]});
            let path = format!("/v1beta/models/m:generateContent?x=1&key={key}");
            gateway.post(&path, &body)
        };
        assert_eq!(in_query("secret-a").status, 200);
        assert_eq!(in_query("%73ecret%2Da").status, 200);
        assert_eq!(in_query("secret%2Dx").status, 401);
        let malformed = in_query("secret%2");
        assert_eq!(malformed.status, 400);
        let message = malformed.json()["error"]["message"].to_string();
        assert!(
            message.contains("key") && !message.contains("secret"),
            "{message}"
        );
        for (headers, status, code) in [
            (&[][..], 401, "missing_api_key"),
            (
                &[("authorization", "Bearer secret-x")],
                401,
                "invalid_api_key",
            ),
            (&[("authorization", "secret-a")], 401, "invalid_api_key"),
            (
                &[("authorization", "Bearer secret-b")],
                403,
                "model_not_allowed",
            ),
        ] {
            let reply = call(headers);
            assert_eq!((reply.status, reply.error().0.as_str()), (status, code));
        }
        // The client's key never reaches the provider, nor the log.
        assert_eq!(upstream.last().header("authorization"), None);
        let line = gateway.wait_for_log(|line| line["key"] == "a");
        assert_eq!(line["team"], "pay");
        assert!(!gateway.log_lines().concat().contains("secret-"));
    });
}

#[test]
fn lists_and_messages_name_only_what_the_key_may_use() {
    on_both_drivers(|driver| {
        let upstream = Upstream::echo();
        let gateway = with_two_keys(driver, &upstream);
        let mut client = gateway.connect();
        client.send(
            b"GET /v1/models HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer secret-b\r\n\r\n",
        );
        let listed = client.response().json();
        let names: Vec<_> = listed["data"]
            .as_array()
            .unwrap()
            .iter()
            .map(|model| model["id"].clone())
            .collect();
        assert_eq!(names, ["other"]);
        let unknown = json!({"model": "x", "messages": [{"role": "user", "content": "a"}]});
        let reply = gateway.post_with(
            "/v1/chat/completions",
            &[("authorization", "Bearer secret-b")],
            &unknown,
        );
        assert_eq!(reply.status, 404);
        assert!(
            reply.error().1.ends_with("known models: other"),
            "{reply:?}"
        );
    });
}

#[test]
fn without_keys_only_this_machine_is_served() {
    on_both_drivers(|driver| {
        let Some(own) = own_address() else {
            eprintln!(
                "this machine has no address beside loopback: a remote caller was not tested"
            );
            return;
        };
        let upstream = Upstream::echo();
        let gateway = Setup::new(driver, upstream.config())
            .server("listen = \"0.0.0.0:0\"\n")
            .start();
        let port = gateway.address.rsplit(':').next().unwrap();
        let remote =
            Client::connect(&format!("{own}:{port}")).post("/v1/chat/completions", &[], &ask("x"));
        assert_eq!(
            (remote.status, remote.error().0.as_str()),
            (403, "keys_required")
        );
        let local = Client::connect(&format!("127.0.0.1:{port}")).post(
            "/v1/chat/completions",
            &[],
            &ask("x"),
        );
        assert_eq!(local.status, 200);
    });
}

/// An address of this machine that is not loopback. Connecting from it to itself stays inside the
/// machine.
fn own_address() -> Option<String> {
    let text = std::fs::read_to_string("/proc/net/fib_trie").ok()?;
    let lines: Vec<&str> = text.lines().collect();
    lines.windows(2).find_map(|pair| {
        let address = pair[0].trim().strip_prefix("|-- ")?;
        let local = pair[1].contains("/32 host LOCAL");
        (local && !address.starts_with("127.")).then(|| address.to_owned())
    })
}

#[test]
fn several_different_keys_are_refused_wherever_they_stand() {
    on_both_drivers(|driver| {
        let upstream = Upstream::echo();
        let gateway = with_two_keys(driver, &upstream);
        let (a, x) = ("Bearer secret-a", "Bearer secret-x");
        let chat = "/v1/chat/completions";
        for headers in [
            [("authorization", a), ("authorization", x)],
            [("authorization", x), ("authorization", a)],
            [("authorization", a), ("authorization", a)],
            [("authorization", a), ("x-api-key", "secret-x")],
            [("authorization", a), ("api-key", "secret-b")],
            [("x-api-key", "secret-a"), ("x-api-key", "secret-a")],
            [("x-api-key", "secret-a"), ("api-key", "secret-x")],
            [("x-goog-api-key", "secret-x"), ("x-api-key", "secret-a")],
        ] {
            let reply = gateway.post_with(chat, &headers, &ask("hello"));
            assert_eq!(reply.status, 401, "{headers:?}");
            assert_eq!(reply.error().0, "invalid_api_key");
        }
        let body = json!({"contents": [{"parts": [{"text": "hello"}]}]});
        let path = "/v1beta/models/m:generateContent?key=secret-a";
        for (headers, status) in [
            ([("x-goog-api-key", "secret-x")], 401),
            ([("authorization", x)], 401),
            ([("x-goog-api-key", "secret-a")], 200),
            ([("authorization", a)], 200),
        ] {
            assert_eq!(gateway.post_with(path, &headers, &body).status, status);
        }
        // The same key twice is one key: some SDKs send it in both headers.
        let both = [("authorization", a), ("x-api-key", "secret-a")];
        assert_eq!(gateway.post_with(chat, &both, &ask("hello")).status, 200);
    });
}
