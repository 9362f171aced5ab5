//! Streams of every provider into every dialect: any split gives the same bytes, every event is JSON,
//! nothing follows the end.

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

use api::face::{About, FACES, Face};
use api::json::Scratch;
use api::neutral::Event;
use http::sse::{SseSplitter, event_data};
use libfuzzer_sys::fuzz_target;
use providers::{PROVIDERS, Provider};

// First two bytes: where to split. Then a stream.
fuzz_target!(|data: &[u8]| {
    let Some((&[high, low], bytes)) = data.split_first_chunk::<2>() else {
        return;
    };
    let split = usize::from(u16::from_be_bytes([high, low])) % (bytes.len() + 1);
    let (a, b) = bytes.split_at(split);
    for face in FACES {
        for provider in PROVIDERS {
            let whole = written(*face, *provider, &[bytes]);
            assert_eq!(written(*face, *provider, &[a, b]), whole);
            check(&whole);
        }
    }
});

fn written(face: &dyn Face, provider: &dyn Provider, pieces: &[&[u8]]) -> Vec<u8> {
    let (mut decoder, mut scratch) = (provider.decoder(), Scratch::default());
    let mut encoder = face.encoder(About {
        request_id: "r".into(),
        created: 1,
        wants_usage: true,
        ..About::default()
    });
    let (mut buffer, mut out, mut over) = (Vec::new(), Vec::new(), false);
    let mut sink = |event: &Event<'_>| {
        assert!(!over, "{event:?} after the end");
        over = matches!(event, Event::End | Event::Failed(_));
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
