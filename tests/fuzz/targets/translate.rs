//! Translates requests and responses between all client APIs and provider APIs: no input causes a panic, and
//! the output is JSON.

#![no_main]

#[path = "../../../src/error/mod.rs"]
#[allow(dead_code, reason = "a target uses a part of the folder")]
mod error;
#[path = "../../../src/http/mod.rs"]
#[allow(dead_code, reason = "a target uses a part of the folder")]
mod http;
#[path = "../../../src/protocols/mod.rs"]
#[allow(dead_code, reason = "a target uses a part of the folder")]
mod protocols;
#[path = "../../../src/signing/mod.rs"]
#[allow(dead_code, reason = "a target uses a part of the folder")]
mod signing;

use libfuzzer_sys::fuzz_target;
use protocols::client_api::ResponseContext;
use protocols::json::document::Scratch;
use protocols::neutral::unsupported_fields::UnsupportedFields;
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

fn check(json: &[u8]) {
    let read = serde_json::from_slice::<serde::de::IgnoredAny>(json);
    assert!(read.is_ok(), "{}", String::from_utf8_lossy(json));
}
