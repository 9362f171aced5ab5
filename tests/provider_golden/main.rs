//! Translations against golden files: `tests/provider_golden/<provider dialect>/<kind>/<case>/`.
//!
//! | kind | given | golden |
//! |---|---|---|
//! | `requests` | `client.<client API>.json` | `provider.json`, and `dropped.txt` when dropping is on |
//! | `answers` | `provider.json` | `client.<client API>.json` |
//! | `errors` | `provider.<status>.json` | `client.<client API>.<status>.json` |
//! | `streams` | `provider.sse`, or `provider.events` for AWS's event stream | `client.<client API>.sse` |
//!
//! A line of `provider.events` is a message: `event` or `exception`, its type, its payload; or `raw` and
//! bytes in hexadecimal. `model.txt` in a case of `requests` names the model at the provider.
//!
//! A new dialect is one more folder. `GOLDEN=write cargo test --test provider_golden` writes what is
//! missing or changed; read the difference before you keep it.

mod reversibility;

use ringside::gateway::transform::neutral_relay::NeutralRelay;
use ringside::gateway::transform::relay::Relay;
use ringside::gateway::transform::translate_body;
use ringside::gateway::transform::translate_body::ClientRequest;
use ringside::http::event_stream::{Value, write_message};
use ringside::protocols::client_api::{ClientApi, ResponseContext};
use ringside::protocols::json::document::Scratch;
use ringside::protocols::neutral::unsupported_fields::UnsupportedFields;
use ringside::protocols::provider_api::ProviderApi;
use ringside::protocols::registry::CLIENT_APIS;
use ringside::protocols::registry::{PROVIDERS, provider_api};
use std::cell::RefCell;
use std::path::{Path, PathBuf};

const MODEL: &str = "upstream-model";

fn response_ctx() -> ResponseContext {
    ResponseContext {
        request_id: "req-1".into(),
        created: 1_700_000_000,
        wants_usage: true,
        model: "upstream-model".into(),
        ..ResponseContext::default()
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/provider_golden")
}

fn client_api(name: &str) -> &'static dyn ClientApi {
    *CLIENT_APIS
        .iter()
        .find(|client_api| client_api.name() == name)
        .unwrap()
}

fn folders(path: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(path) else {
        return Vec::new();
    };
    let mut found: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    found.sort();
    found
}

/// The cases of a kind: provider, folder.
fn cases(kind: &str) -> Vec<(&'static dyn ProviderApi, PathBuf)> {
    let mut found = Vec::new();
    for one in PROVIDERS {
        for case in folders(&root().join(one.name()).join(kind)) {
            found.push((provider_api(one.name()).unwrap(), case));
        }
    }
    found
}

/// Compares with the golden file, or writes it.
fn check(path: &Path, actual: &str) {
    if std::env::var_os("GOLDEN").is_some_and(|how| how == "write") {
        std::fs::write(path, actual).unwrap();
        return;
    }
    let expected = std::fs::read_to_string(path)
        .unwrap_or_else(|_| panic!("{} is missing; it would be:\n{actual}", path.display()));
    assert_eq!(actual, expected, "{}", path.display());
}

/// As written, byte for byte, once it was found to be JSON.
fn exact(json: &[u8]) -> String {
    let text = std::str::from_utf8(json).unwrap();
    let read = serde_json::from_str::<serde_json::Value>(text);
    assert!(read.is_ok(), "{text}");
    format!("{text}\n")
}

/// What stands between `start` and `end` of a file's name.
fn between<'p>(path: &'p Path, start: &str, end: &str) -> Option<&'p str> {
    let name = path.file_name()?.to_str()?;
    name.strip_prefix(start)?.strip_suffix(end)
}

fn client_request<'r>(client_api: &'r dyn ClientApi, body: &'r [u8]) -> ClientRequest<'r> {
    ClientRequest {
        client_api,
        body,
        streams: false,
    }
}

/// A stream as the provider sends it.
fn stream_of(case: &Path) -> Vec<u8> {
    let Ok(lines) = std::fs::read_to_string(case.join("provider.events")) else {
        return std::fs::read(case.join("provider.sse")).unwrap();
    };
    let mut out = Vec::new();
    for line in lines.lines() {
        let (kind, rest) = line.split_once(' ').unwrap();
        if kind == "raw" {
            let pairs = rest.as_bytes().chunks(2);
            let byte = |pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
            out.extend(pairs.map(byte));
            continue;
        }
        let (name, payload) = rest.split_once(' ').unwrap();
        let headers = [
            (format!(":{kind}-type"), name),
            (":content-type".to_owned(), "application/json"),
            (":message-type".to_owned(), kind),
        ];
        let headers: Vec<_> = headers
            .iter()
            .map(|(name, value)| (name.as_str(), Value::Text(value)))
            .collect();
        write_message(&mut out, &headers, payload.as_bytes());
    }
    out
}

fn translated(
    client_api: &dyn ClientApi,
    to: &dyn ProviderApi,
    model: &str,
    body: &[u8],
    drops: bool,
) -> (String, String) {
    let (mut unsupported, mut out) = (UnsupportedFields::new(drops), Vec::new());
    let mut scratch = Scratch::default();
    let outcome = translate_body::translate_request(
        &client_request(client_api, body),
        to,
        model,
        &mut unsupported,
        &mut scratch,
        &mut out,
    );
    match outcome {
        Ok(()) => (exact(&out), unsupported.header().unwrap_or_default()),
        Err(fault) => (
            format!("{} {} {:?}\n", fault.status, fault.code, fault.param),
            String::new(),
        ),
    }
}

#[test]
fn requests() {
    let all = cases("requests");
    assert!(!all.is_empty());
    for (provider, case) in all {
        for file in folders(&case) {
            let Some(name) = between(&file, "client.", ".json") else {
                continue;
            };
            let body = std::fs::read(&file).unwrap();
            let named = std::fs::read_to_string(case.join("model.txt"));
            let model = named.as_deref().map_or(MODEL, str::trim);
            let (sent, dropped) = translated(client_api(name), provider, model, &body, false);
            check(&case.join("provider.json"), &sent);
            if !sent.starts_with('{') {
                let (sent, dropped) = translated(client_api(name), provider, model, &body, true);
                check(&case.join("provider.dropped.json"), &sent);
                check(&case.join("dropped.txt"), &(dropped + "\n"));
            } else if !dropped.is_empty() {
                check(&case.join("dropped.txt"), &(dropped + "\n"));
            }
        }
    }
}

fn other_client_apis(provider: &dyn ProviderApi) -> impl Iterator<Item = &'static dyn ClientApi> {
    let native = provider.native_client_api();
    CLIENT_APIS
        .iter()
        .copied()
        .filter(move |client_api| client_api.name() != native)
}

fn whole(
    client_api: &dyn ClientApi,
    provider: &dyn ProviderApi,
    status: u16,
    body: &[u8],
) -> (u16, String) {
    let mut scratch = Scratch::default();
    match translate_body::translate_response(
        client_api,
        provider,
        status,
        body,
        &response_ctx(),
        &mut scratch,
    ) {
        Ok((status, body)) => (status, exact(&body)),
        Err(fault) => (
            fault.status,
            exact(client_api.error_body(&fault).as_bytes()),
        ),
    }
}

#[test]
fn responses() {
    let all = cases("answers");
    assert!(!all.is_empty());
    for (provider, case) in all {
        let body = std::fs::read(case.join("provider.json")).unwrap();
        for client_api in other_client_apis(provider) {
            let (_, written) = whole(client_api, provider, 200, &body);
            check(
                &case.join(format!("client.{}.json", client_api.name())),
                &written,
            );
        }
    }
}

#[test]
fn errors() {
    let all = cases("errors");
    assert!(!all.is_empty());
    for (provider, case) in all {
        for file in folders(&case) {
            let Some(status) = between(&file, "provider.", ".json") else {
                continue;
            };
            let body = std::fs::read(&file).unwrap();
            for client_api in other_client_apis(provider) {
                let (sent_status, written) =
                    whole(client_api, provider, status.parse().unwrap(), &body);
                let name = format!("client.{}.{sent_status}.json", client_api.name());
                check(&case.join(name), &written);
            }
        }
    }
}

/// The stream of `client_api`, from pieces, and its usage.
fn streamed(
    client_api: &dyn ClientApi,
    provider: &dyn ProviderApi,
    pieces: &[&[u8]],
) -> (String, String) {
    let encoder = (provider.native_client_api() != client_api.name())
        .then(|| client_api.encoder(response_ctx()));
    let relay = NeutralRelay::new(provider.decoder(), encoder, None);
    let mut relay = relay.with_model(MODEL.to_owned());
    let (mut out, mut scratch) = (Vec::new(), Scratch::default());
    for piece in pieces {
        let fed = relay.feed(&mut piece.to_vec(), &mut out, &mut scratch);
        fed.unwrap();
    }
    relay.end(&mut out, &mut scratch);
    let (complete, failed) = (relay.is_complete(), relay.has_failed());
    let usage = relay.usage();
    check_in_own_dialect(client_api, &out, complete, failed);
    let usage = usage.map_or("unknown".into(), |usage| {
        let reasoning = usage.reasoning.map(|tokens| tokens.to_string());
        format!(
            "prompt {} cached {} cache_write {} completion {} reasoning {}",
            usage.prompt,
            usage.cached,
            usage.cache_write,
            usage.completion,
            reasoning.as_deref().unwrap_or("unknown"),
        )
    });
    let facts = format!("complete {complete} failed {failed} usage {usage}");
    (String::from_utf8(out).unwrap(), facts)
}

/// What was written is understood by the relay of its dialect.
fn check_in_own_dialect(client_api: &dyn ClientApi, stream: &[u8], complete: bool, failed: bool) {
    let scratch = RefCell::new(Scratch::default());
    let (mut relay, mut out) = (Relay::forward(client_api, None), Vec::new());
    let fed = relay.feed(&mut stream.to_vec(), &mut out, &scratch, |_, _| {});
    fed.unwrap();
    relay.end(&mut out, &scratch, |_, _| {});
    assert_eq!(
        (relay.is_complete(), relay.has_failed()),
        (complete, failed)
    );
    assert_eq!(out, stream);
}

#[test]
fn streams_at_any_split() {
    let all = cases("streams");
    assert!(!all.is_empty());
    for (provider, case) in all {
        let stream = stream_of(&case);
        for client_api in CLIENT_APIS.iter().copied() {
            let (whole, facts) = streamed(client_api, provider, &[&stream]);
            if client_api.name() == provider.native_client_api() {
                assert!(facts.contains("usage"), "{facts}");
            } else {
                let name = format!("client.{}.sse", client_api.name());
                check(&case.join(name), &format!("{whole}: {facts}\n"));
            }
            for at in 0..=stream.len() {
                let (a, b) = stream.split_at(at);
                assert_eq!(
                    streamed(client_api, provider, &[a, b]),
                    (whole.clone(), facts.clone())
                );
            }
            let bytes: Vec<&[u8]> = stream.chunks(1).collect();
            assert_eq!(streamed(client_api, provider, &bytes), (whole, facts));
        }
    }
}

/// The dialects' own streams cross without a changed byte.
#[test]
fn a_stream_in_the_clients_own_dialect_is_untouched() {
    for (provider, case) in cases("streams") {
        let stream = stream_of(&case);
        let own = CLIENT_APIS
            .iter()
            .find(|client_api| client_api.name() == provider.native_client_api());
        let Some(own) = own else {
            continue;
        };
        let (out, _) = streamed(*own, provider, &[&stream]);
        assert_eq!(out.as_bytes(), stream, "{}", case.display());
    }
}

#[test]
fn every_dialect_has_golden_files_of_every_kind() {
    for dialect in PROVIDERS {
        for kind in ["requests", "answers", "errors", "streams"] {
            let folder = root().join(dialect.name()).join(kind);
            assert!(
                !folders(&folder).is_empty(),
                "{} is empty",
                folder.display()
            );
        }
    }
}
