//! Requests and answers from every dialect into every other: no input makes a panic, and what comes out
//! is JSON.

#![no_main]

#[path = "../../../src/api/mod.rs"]
#[allow(dead_code)]
mod api;
#[path = "../../../src/error/mod.rs"]
#[allow(dead_code)]
mod error;
#[path = "../../../src/http/mod.rs"]
#[allow(dead_code)]
mod http;
#[path = "../../../src/providers/mod.rs"]
#[allow(dead_code)]
mod providers;
#[path = "../../../src/signing/mod.rs"]
#[allow(dead_code)]
mod signing;

use api::face::{About, FACES};
use api::json::Scratch;
use api::neutral::Losses;
use libfuzzer_sys::fuzz_target;
use providers::PROVIDERS;

// A document, read as whatever it could be.
fuzz_target!(|data: &[u8]| {
    let mut scratch = Scratch::default();
    let about = About {
        request_id: "r".into(),
        created: 1,
        wants_usage: true,
        ..About::default()
    };
    for face in FACES {
        let prepared = face.prepare(data, &mut scratch);
        if let Some(body) = &prepared {
            check(body);
        }
        let data = prepared.as_deref().unwrap_or(data);
        for provider in PROVIDERS {
            for drops in [false, true] {
                let (mut losses, mut out) = (Losses::new(drops), Vec::new());
                let written = scratch.with_document(data, |document| {
                    let request = face.read_request(document, &mut losses)?;
                    provider.write_request(&request, "model", &mut losses, &mut out)
                });
                if matches!(written, Ok(Ok(()))) {
                    check(&out);
                }
                let header = losses.header().unwrap_or_default();
                assert!(header.bytes().all(|byte| byte.is_ascii_graphic()));
            }
            let _ = scratch.with_document(data, |document| {
                let mut out = Vec::new();
                if let Ok(answer) = provider.read_answer(document) {
                    face.write_answer(&answer, &about, &mut out);
                    check(&out);
                }
                out.clear();
                face.write_failure(&provider.read_failure(500, document), &mut out);
                check(&out);
            });
        }
    }
});

fn check(json: &[u8]) {
    let read = serde_json::from_slice::<serde::de::IgnoredAny>(json);
    assert!(read.is_ok(), "{}", String::from_utf8_lossy(json));
}
