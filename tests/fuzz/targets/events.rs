//! Translates streams of every provider API for every client API: any split gives the same bytes, every event
//! is JSON, and nothing follows the end.

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

use http::sse::{SseSplitter, event_data};
use libfuzzer_sys::fuzz_target;
use protocols::client_api::{ClientApi, ResponseContext};
use protocols::json::document::Scratch;
use protocols::neutral::event::Event;
use protocols::provider_api::ProviderApi;
use protocols::registry::{CLIENT_APIS, PROVIDERS};

// First two bytes: where to split. Then a stream.
fuzz_target!(|data: &[u8]| {
    let Some((&[high, low], bytes)) = data.split_first_chunk::<2>() else {
        return;
    };
    let split = usize::from(u16::from_be_bytes([high, low])) % (bytes.len() + 1);
    let (a, b) = bytes.split_at(split);
    for client_api in CLIENT_APIS {
        for provider in PROVIDERS {
            let whole = written(*client_api, *provider, &[bytes]);
            assert_eq!(written(*client_api, *provider, &[a, b]), whole);
            check(&whole);
        }
    }
});

fn written(client_api: &dyn ClientApi, provider: &dyn ProviderApi, pieces: &[&[u8]]) -> Vec<u8> {
    let (mut decoder, mut scratch) = (provider.decoder(), Scratch::default());
    let mut encoder = client_api.encoder(ResponseContext {
        request_id: "r".into(),
        created: 1,
        wants_usage: true,
        ..ResponseContext::default()
    });
    let (mut buffer, mut out, mut over) = (Vec::new(), Vec::new(), false);
    let mut sink = |event: &Event<'_>| {
        assert!(!over, "{event:?} after the end");
        over = matches!(event, Event::End | Event::Error(_));
        encoder.event(event, &mut out);
    };
    for piece in pieces {
        buffer.extend_from_slice(piece);
        while let Some(length) = decoder.next_frame(&buffer).expect("below the bound") {
            let frame: Vec<u8> = buffer.drain(..length).collect();
            decoder.frame(&frame, &mut scratch, &mut sink);
        }
    }
    decoder.end(&mut sink);
    out
}

fn check(stream: &[u8]) {
    let (mut splitter, mut rest) = (SseSplitter::new(), stream);
    while let Some(length) = splitter.next_event(rest).expect("below the bound") {
        let (event, after) = rest.split_at(length);
        if let Some(data) = event_data(event).filter(|data| &data[..] != b"[DONE]") {
            let read = serde_json::from_slice::<serde::de::IgnoredAny>(&data);
            assert!(read.is_ok(), "{}", String::from_utf8_lossy(&data));
        }
        rest = after;
    }
    // What is left is a comment at most.
    assert!(rest.is_empty() || rest.starts_with(b": "), "{}", String::from_utf8_lossy(rest));
}
