//! Credentials that are renewed, and requests that are signed: against a local token endpoint, and a provider that
//! checks credentials.

use crate::harness::*;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::signature::{KeyPair, RSA_PKCS1_2048_8192_SHA256, RsaKeyPair, UnparsedPublicKey};
use ringside::signing::sigv4::{AmzDate, AwsKeys, Scope, ToSign, write_headers};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const NO_CACHE: &str = "[cache]\nenabled = false\n";

fn unix_time() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    now.as_secs()
}

/// Gives `token-1`, `token-2`, … for as many seconds as `seconds` says; 0 = refuses.
fn token_endpoint(seconds: Arc<AtomicU64>) -> Upstream {
    let given = AtomicUsize::new(0);
    Upstream::start(move |_, stream| {
        let seconds = seconds.load(Ordering::SeqCst);
        if seconds == 0 {
            let body = json!({"error": "temporarily_unavailable", "error_description": "hunter2"});
            return write_json(stream, 503, &body);
        }
        let nth = given.fetch_add(1, Ordering::SeqCst) + 1;
        let body = json!({"token_type": "Bearer", "expires_in": seconds, "access_token": format!("token-{nth}")});
        write_json(stream, 200, &body)
    })
}

fn form(seen: &Seen) -> HashMap<String, String> {
    let body = seen.message.text();
    let text = body.split('&').map(|pair| pair.split_once('=').unwrap());
    let decoded = |text: &str| {
        ringside::http::percent::unescaped(text)
            .unwrap()
            .into_owned()
    };
    text.map(|(name, value)| (decoded(name), decoded(value)))
        .collect()
}

/// A gateway with one provider that gets its token by `auth`, and files beside its configuration.
fn gateway(driver: &str, provider_at: &Upstream, auth: &str, files: &[(&str, &str)]) -> Gateway {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    let address = provider_at.address.to_string();
    let config = format!(
        "{}{}{NO_CACHE}",
        provider("up", &address, &format!("auth = {{ {auth} }}")),
        model("m", &["up"])
    );
    Setup::new(driver, config).start_in(folder)
}

fn entra(tokens: &Upstream) -> String {
    format!(
        "kind = \"entra\", tenant = \"t-1\", client_id = \"app&1\", client_secret = \"file:secret\", authority = \"http://{}\"",
        tokens.address
    )
}

#[test]
fn a_token_is_fetched_at_start_and_renewed_before_it_expires() {
    on_both_drivers(|driver| {
        let tokens = token_endpoint(Arc::new(12.into()));
        let upstream = Upstream::echo();
        let gateway = gateway(
            driver,
            &upstream,
            &entra(&tokens),
            &[("secret", "s+cr/t\n")],
        );
        assert_eq!(gateway.chat(&ask("a")).status, 200);
        let first = tokens.seen.lock().unwrap()[0].clone();
        assert_eq!(first.line, "POST /t-1/oauth2/v2.0/token HTTP/1.1");
        let expected = [
            ("grant_type", "client_credentials"),
            ("client_id", "app&1"),
            ("client_secret", "s+cr/t"),
            ("scope", "https://cognitiveservices.azure.com/.default"),
        ];
        let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(form(&first), HashMap::from(expected));
        // No request is refused while tokens are renewed.
        wait_until("a renewal", || {
            assert_eq!(gateway.chat(&ask("b")).status, 200);
            upstream.last().header("authorization") == Some("Bearer token-2")
        });
        let seen = upstream.seen.lock().unwrap().clone();
        let used = seen.iter().map(|one| one.header("authorization").unwrap());
        let mut used: Vec<_> = used.collect();
        used.dedup();
        assert_eq!(used, ["Bearer token-1", "Bearer token-2"]);
        assert!(
            gateway.metric("ringside_credentials_renewals_total{provider=\"up\",outcome=\"ok\"}")
                >= 2.0
        );
    });
}

#[test]
fn an_old_token_is_used_until_it_expires_and_then_none() {
    on_both_drivers(|driver| {
        let seconds = Arc::new(AtomicU64::new(8));
        let tokens = token_endpoint(Arc::clone(&seconds));
        let upstream = Upstream::echo();
        let gateway = gateway(driver, &upstream, &entra(&tokens), &[("secret", "hunter2")]);
        assert_eq!(gateway.chat(&ask("a")).status, 200);
        seconds.store(0, Ordering::SeqCst);
        let failed = gateway.wait_for_event("credentials_not_renewed");
        assert_eq!(failed["provider"], "up");
        let reason = failed["reason"].as_str().unwrap();
        assert_eq!(reason, "status 503 (temporarily_unavailable)");
        let expire_at = failed["expire_at_s"].as_u64().unwrap();
        let refused = loop {
            let upstream_response = gateway.chat(&ask("b"));
            if upstream_response.status != 200 {
                break upstream_response;
            }
            std::thread::sleep(Duration::from_millis(20));
        };
        assert!(unix_time() >= expire_at);
        assert_eq!(refused.status, 502);
        assert_eq!(refused.error().0, "upstream_no_credentials");
        let seen = upstream.seen.lock().unwrap().clone();
        let old = |one: &Seen| one.header("authorization") == Some("Bearer token-1");
        assert!(seen.iter().all(old));
        seconds.store(3600, Ordering::SeqCst);
        wait_until("a new token", || gateway.chat(&ask("c")).status == 200);
        assert_eq!(
            upstream.last().header("authorization"),
            Some("Bearer token-2")
        );
        gateway.wait_for_event("credentials_renewed_again");
        assert!(!gateway.log_lines().concat().contains("hunter2"));
    });
}

#[test]
fn no_token_or_a_refused_one_sends_the_request_to_the_next_target() {
    on_both_drivers(|driver| {
        let seconds = Arc::new(AtomicU64::new(0));
        let tokens = token_endpoint(Arc::clone(&seconds));
        let refusing = Upstream::start(|_, stream| {
            write_json(
                stream,
                401,
                &json!({"error": {"message": "no", "type": "t"}}),
            )
        });
        let other = Upstream::echo();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("secret"), "s").unwrap();
        let auth = format!("auth = {{ {} }}", entra(&tokens));
        let config = format!(
            "{}{}{}{NO_CACHE}",
            provider("up", &refusing.address.to_string(), &auth),
            other.provider("other"),
            model("m", &["up", "other"])
        );
        // Each core has its own cooldowns.
        let setup = Setup::new(driver, config).server("cores = 1");
        let gateway = setup.start_in(folder);
        let upstream_response = gateway.chat(&ask("a"));
        assert_eq!(
            upstream_response.header("x-ringside-target"),
            Some("other/m-at-other")
        );
        assert_eq!(refusing.count(), 0);
        let missing =
            "ringside_upstream_attempts_total{target=\"up/m-at-up\",outcome=\"no_credentials\"}";
        gateway.wait_for_metric(missing, 1.0);
        seconds.store(3600, Ordering::SeqCst);
        wait_until("the token's refusal", || {
            assert_eq!(gateway.chat(&ask("b")).status, 200);
            refusing.count() > 0
        });
        assert_eq!(
            refusing.last().header("authorization"),
            Some("Bearer token-1")
        );
        // The refused token is in cooldown, like any refused key.
        let sent = refusing.count();
        assert_eq!(gateway.chat(&ask("c")).status, 200);
        assert_eq!(refusing.count(), sent);
    });
}

#[test]
fn a_service_account_signs_for_its_token() {
    let json = include_str!("../fixtures/service-account.json");
    let given: Value = serde_json::from_str(json).unwrap();
    let pem = given["private_key"].as_str().unwrap().to_owned();
    on_both_drivers(|driver| {
        let tokens = token_endpoint(Arc::new(3600.into()));
        let url = format!("http://{}/token", tokens.address);
        let mut account = given.clone();
        account["token_uri"] = json!(url);
        let upstream = Upstream::echo();
        let auth = "kind = \"google\", service_account = \"file:account.json\"";
        let files = [("account.json", account.to_string())];
        let files = files.each_ref().map(|(name, text)| (*name, text.as_str()));
        let gateway = gateway(driver, &upstream, auth, &files);
        assert_eq!(gateway.chat(&ask("a")).status, 200);
        assert_eq!(
            upstream.last().header("authorization"),
            Some("Bearer token-1")
        );

        let sent = form(&tokens.last());
        assert_eq!(
            sent["grant_type"],
            "urn:ietf:params:oauth:grant-type:jwt-bearer"
        );
        let (signed, signature) = sent["assertion"].rsplit_once('.').unwrap();
        let (header, claims) = signed.split_once('.').unwrap();
        let read = |part: &str| -> Value {
            serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
        };
        assert_eq!(
            read(header),
            json!({"alg": "RS256", "typ": "JWT", "kid": "made-for-these-tests"})
        );
        let claims = read(claims);
        assert_eq!(claims["iss"], "tests@test.iam.gserviceaccount.com");
        assert_eq!(claims["aud"], url.as_str());
        assert_eq!(
            claims["scope"],
            "https://www.googleapis.com/auth/cloud-platform"
        );
        let (issued, expires) = (
            claims["iat"].as_u64().unwrap(),
            claims["exp"].as_u64().unwrap(),
        );
        assert_eq!(expires, issued + 3600);
        assert!(unix_time().abs_diff(issued) < 60);

        let base64: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
        let key = RsaKeyPair::from_pkcs8(&STANDARD.decode(base64).unwrap()).unwrap();
        let public = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, key.public_key().as_ref());
        let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
        public.verify(signed.as_bytes(), &signature).unwrap();
    });
}

/// Signs what was seen with these keys, and compares.
fn assert_signed(seen: &Seen, keys: &AwsKeys) {
    assert_signed_by(seen, keys, &["host", "content-type"]);
}

/// The same, of a request with these headers signed.
fn assert_signed_by(seen: &Seen, keys: &AwsKeys, signed: &[&str]) {
    let date = seen.header("x-amz-date").unwrap();
    let near = (0..120).map(|back| AmzDate::from_unix(unix_time() - back));
    let at = near.into_iter().find(|at| at.text() == date).unwrap();
    let mut words = seen.line.split(' ');
    let (method, target) = (words.next().unwrap(), words.next().unwrap());
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let headers = signed
        .iter()
        .map(|name| (*name, seen.header(name).unwrap()));
    let headers: Vec<_> = headers.collect();
    let request = ToSign {
        method,
        path,
        query,
        headers: &headers,
        body: &seen.message.body,
    };
    let scope = Scope {
        region: "eu-central-1",
        service: "bedrock-mantle",
    };
    let mut expected = Vec::new();
    write_headers(&mut expected, keys, scope, at, &request);
    let expected = String::from_utf8(expected).unwrap();
    let authorization = format!(
        "authorization: {}\r\n",
        seen.header("authorization").unwrap()
    );
    assert!(
        expected.ends_with(&authorization),
        "{expected}{authorization}"
    );
}

#[test]
fn fixed_aws_keys_sign_what_is_sent() {
    on_both_drivers(|driver| {
        let upstream = Upstream::echo();
        let auth = "kind = \"aws\", region = \"eu-central-1\", service = \"bedrock-mantle\", access_key_id = \"file:id\", secret_access_key = \"file:key\", session_token = \"file:token\"";
        let files = [
            ("id", "AKIDEXAMPLE"),
            ("key", "secret"),
            ("token", "session"),
        ];
        let gateway = gateway(driver, &upstream, auth, &files);
        assert_eq!(gateway.chat(&ask("é")).status, 200);
        let keys = AwsKeys::new("AKIDEXAMPLE", "secret", Some("session"));
        assert_signed(&upstream.last(), &keys);
        assert_eq!(
            upstream.last().header("x-amz-security-token"),
            Some("session")
        );
        assert_eq!(gateway.chat(&ask_stream("b")).status, 200);
        assert_signed(&upstream.last(), &keys);
    });
}

#[test]
fn passthrough_requests_are_signed_as_they_are_sent() {
    on_both_drivers(|driver| {
        let upstream = Upstream::start(|_, stream| write_json(stream, 200, &json!({})));
        let auth = "kind = \"aws\", region = \"eu-central-1\", service = \"bedrock-mantle\", access_key_id = \"file:id\", secret_access_key = \"file:key\"";
        let files = [("id", "AKIDEXAMPLE"), ("key", "secret")];
        let gateway = gateway(driver, &upstream, auth, &files);
        let keys = AwsKeys::new("AKIDEXAMPLE", "secret", None);
        let sent = |head: &str, kind: &str, body: &str| {
            let mut client = gateway.connect();
            let length = body.len();
            client.send(
                format!(
                    "{head} HTTP/1.1\r\nhost: localhost\r\n{kind}content-length: {length}\r\n\r\n{body}"
                )
                .as_bytes(),
            );
            let upstream_response = client.response();
            assert_eq!(
                upstream_response.status, 200,
                "{head}: {upstream_response:?}"
            );
            upstream.last()
        };
        let form = "content-type: multipart/form-data; boundary=b\r\n";
        let body = "--b\r\ncontent-disposition: form-data; name=\"model\"\r\n\r\nm\r\n--b--\r\n";
        let seen = sent("POST /v1/audio/transcriptions", form, body);
        assert!(
            seen.header("content-type")
                .unwrap()
                .starts_with("multipart/")
        );
        assert_signed(&seen, &keys);
        let seen = sent("POST /v1/moderations", "", "{\"model\":\"m\"}");
        assert_signed(&seen, &keys);
        let seen = sent("POST /v1/files?purpose=b&after=%2F", form, body);
        assert_signed(&seen, &keys);
        let seen = sent("PATCH /providers/up/things?b=2&a=1", "", "x");
        assert!(seen.line.starts_with("PATCH /v1/things?"));
        assert_signed_by(&seen, &keys, &["host"]);
        // The signature covers a body that would otherwise be forwarded while it arrives.
        let large = "x".repeat(1 << 20);
        let seen = sent("POST /v1/files", form, &large);
        assert_eq!(seen.message.text(), large);
        assert_signed(&seen, &keys);
    });
}

#[test]
fn container_keys_are_fetched_with_the_current_token_of_the_file() {
    on_both_drivers(|driver| {
        let keys = Upstream::start(|seen, stream| {
            let Some(token) = seen.header("authorization") else {
                return write_json(stream, 400, &json!({"code": "InvalidAuthorization"}));
            };
            let expiration = AmzDate::from_unix(unix_time() + 12).text().to_owned();
            let (day, time) = expiration.split_once('T').unwrap();
            let body = json!({
                "AccessKeyId": format!("ID-{token}"), "SecretAccessKey": "secret", "Token": "session",
                "Expiration": format!(
                    "{}-{}-{}T{}:{}:{}Z",
                    &day[..4], &day[4..6], &day[6..], &time[..2], &time[2..4], &time[4..6]
                ),
            });
            write_json(stream, 200, &body)
        });
        let upstream = Upstream::echo();
        let auth = format!(
            "kind = \"aws-container\", region = \"eu-central-1\", service = \"bedrock-mantle\", url = \"http://{}/v2/keys\", token = \"file:token\"",
            keys.address
        );
        let gateway = gateway(driver, &upstream, &auth, &[("token", "one\n")]);
        assert_eq!(gateway.chat(&ask("a")).status, 200);
        assert_signed(
            &upstream.last(),
            &AwsKeys::new("ID-one", "secret", Some("session")),
        );
        assert_eq!(keys.last().line, "GET /v2/keys HTTP/1.1");
        std::fs::write(gateway.folder.path().join("token"), "two\n").unwrap();
        wait_until("keys by the new token", || {
            assert_eq!(gateway.chat(&ask("b")).status, 200);
            let seen = upstream.last();
            seen.header("authorization").unwrap().contains("ID-two")
        });
        assert_signed(
            &upstream.last(),
            &AwsKeys::new("ID-two", "secret", Some("session")),
        );
    });
}
