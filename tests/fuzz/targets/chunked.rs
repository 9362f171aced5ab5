//! The chunked coding: any split decodes alike, and what is encoded decodes to what was put in.

#![no_main]

#[path = "../../../src/http/mod.rs"]
#[allow(dead_code, reason = "the target uses a part of the module")]
mod http;

use http::chunked::{BodyError, ChunkDecoder};
use http::encode;
use libfuzzer_sys::fuzz_target;

// First two bytes: where to split, and the size of the chunks encoded. Then a chunked body.
fuzz_target!(|data: &[u8]| {
    let Some((&[high, low], bytes)) = data.split_first_chunk::<2>() else {
        return;
    };
    let split = usize::from(u16::from_be_bytes([high, low])) % (bytes.len() + 1);
    let (a, b) = bytes.split_at(split);
    let whole = decode(&[bytes]);
    assert_eq!(decode(&[a, b]), whole);
    let singles: Vec<&[u8]> = bytes.chunks(1).collect();
    assert_eq!(decode(&singles), whole);
    if let Ok((out, taken, done)) = &whole {
        assert!(out.len() <= *taken && *taken <= bytes.len());
        assert!(*done || *taken == bytes.len());
        if *done {
            assert!(bytes[..*taken].ends_with(b"\r\n"));
            // What follows has no say in it.
            assert_eq!(decode(&[&bytes[..*taken]]), whole);
        }
        // A prefix of a good body is good, and a prefix of its output.
        let (part, taken_part, _) = decode(&[a]).expect("a good body was refused at a split");
        assert!(out.starts_with(&part) && taken_part <= split);
    }
    decodes_what_was_encoded(bytes, usize::from(low) + 1);
});

type Decoded = (Vec<u8>, usize, bool);

fn decode(pieces: &[&[u8]]) -> Result<Decoded, BodyError> {
    let mut decoder = ChunkDecoder::default();
    let (mut out, mut taken) = (Vec::new(), 0);
    for piece in pieces {
        let consumed = decoder.read(piece, &mut out)?;
        assert!(consumed <= piece.len());
        assert!(consumed == piece.len() || decoder.is_done());
        taken += consumed;
    }
    Ok((out, taken, decoder.is_done()))
}

fn decodes_what_was_encoded(data: &[u8], size: usize) {
    let mut wire = Vec::new();
    for piece in data.chunks(size) {
        encode::chunk(&mut wire, piece);
        encode::chunk(&mut wire, b"");
    }
    encode::last_chunk(&mut wire);
    let end = wire.len();
    wire.extend_from_slice(b"GET / HTTP/1.1\r\n");
    assert_eq!(decode(&[&wire]), Ok((data.to_vec(), end, true)));
}
