//! Translates requests and responses between all client APIs and provider APIs: no input causes a panic, and
//! the output is JSON. A request in the wire format of a client API can be read back, and no longer changes.
//! Most inputs are valid documents whose structure was changed.

#![no_main]

#[path = "../../../src/error/mod.rs"]
#[allow(dead_code, reason = "a target uses a part of the folder")]
mod error;
#[path = "../../../src/headers.rs"]
#[allow(dead_code, reason = "a target uses a part of the folder")]
mod headers;
#[path = "../../../src/http/mod.rs"]
#[allow(dead_code, reason = "a target uses a part of the folder")]
mod http;
#[path = "../../../src/protocols/mod.rs"]
#[allow(dead_code, reason = "a target uses a part of the folder")]
mod protocols;
mod runtime;
#[path = "../../../src/signing/mod.rs"]
#[allow(dead_code, reason = "a target uses a part of the folder")]
mod signing;

mod json;

use json::Choices;
use libfuzzer_sys::{fuzz_mutator, fuzz_target, fuzzer_mutate};
use protocols::client_api::ClientApi;
use protocols::client_api::ResponseContext;
use protocols::json::document::Scratch;
use protocols::neutral::unsupported_fields::UnsupportedFields;
use protocols::provider_api::ProviderApi;
use protocols::registry::{CLIENT_APIS, PROVIDERS};

// A document, read as whatever it could be.
fuzz_target!(|data: &[u8]| {
    let mut scratch = Scratch::default();
    let response_ctx = ResponseContext {
        request_id: "r".into(),
        created: 1,
        wants_usage: true,
        ..ResponseContext::default()
    };
    for client_api in CLIENT_APIS {
        let prepared = client_api.normalize_request(data, &mut scratch);
        if let Some(body) = &prepared {
            check(body);
        }
        let data = prepared.as_deref().unwrap_or(data);
        for provider in PROVIDERS {
            for drops in [false, true] {
                let (mut unsupported, mut out) = (UnsupportedFields::new(drops), Vec::new());
                let written = scratch.with_document(data, |document| {
                    let request = client_api.read_request(document, &mut unsupported)?;
                    provider.write_request(&request, "model", &mut unsupported, &mut out)
                });
                if matches!(written, Ok(Ok(()))) {
                    check(&out);
                    check_read_back(*provider, &out, &mut scratch);
                }
                let header = unsupported.header().unwrap_or_default();
                assert!(header.bytes().all(|byte| byte.is_ascii_graphic()));
            }
            let _ = scratch.with_document(data, |document| {
                let mut out = Vec::new();
                if let Ok(response) = provider.read_response(document) {
                    client_api.write_response(&response, &response_ctx, &mut out);
                    check(&out);
                }
                out.clear();
                client_api.write_provider_error(&provider.read_error(500, document), &mut out);
                check(&out);
            });
        }
    }
});

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    let mut choices = Choices::new(seed);
    let document = serde_json::from_slice(&data[..size]);
    if let (Ok(mut document), true) = (document, choices.below(4) > 0) {
        json::mutate(&mut document, &mut choices);
        let changed = document.to_string().into_bytes();
        if changed.len() <= max_size {
            data[..changed.len()].copy_from_slice(&changed);
            return changed.len();
        }
    }
    fuzzer_mutate(data, size, max_size)
});

/// What was written stays as it is when the client API of its wire format reads it and it is written again: only the
/// first time may a value become the nearest one that the format has. A malformed value may be refused here that the
/// first client API left to the provider.
fn check_read_back(provider: &dyn ProviderApi, written: &[u8], scratch: &mut Scratch) {
    let is_native = |client_api: &&&dyn ClientApi| client_api.name() == provider.native_client_api();
    let Some(client_api) = CLIENT_APIS.iter().find(is_native) else {
        return;
    };
    let mut again = |written: &[u8]| {
        let prepared = client_api.normalize_request(written, scratch);
        let read = prepared.as_deref().unwrap_or(written);
        let (mut unsupported, mut out) = (UnsupportedFields::new(true), Vec::new());
        let outcome = scratch.with_document(read, |document| {
            let request = client_api.read_request(document, &mut unsupported)?;
            provider.write_request(&request, "model", &mut unsupported, &mut out)
        });
        matches!(outcome, Ok(Ok(()))).then_some(out)
    };
    let Some(second) = again(written) else {
        return;
    };
    let third = again(&second);
    assert!(third.is_some(), "{}", provider.name());
    let third = third.unwrap_or_default();
    let (second, third) = (String::from_utf8_lossy(&second), String::from_utf8_lossy(&third));
    assert_eq!(second, third, "{}", provider.name());
}

fn check(json: &[u8]) {
    let read = serde_json::from_slice::<serde::de::IgnoredAny>(json);
    assert!(read.is_ok(), "{}", String::from_utf8_lossy(json));
}
