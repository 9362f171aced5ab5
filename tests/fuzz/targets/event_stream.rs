//! AWS's event stream: any split reads alike, what is written reads back, a flipped bit is refused.

#![no_main]

#[path = "../../../src/http/mod.rs"]
#[allow(dead_code, reason = "the target uses a part of the module")]
mod http;

use http::event_stream::{BadMessage, Value, next_message, write_message};
use libfuzzer_sys::fuzz_target;

// First two bytes: where to split, which bit to flip, and how many bytes are headers.
fuzz_target!(|data: &[u8]| {
    let Some((&[high, low], bytes)) = data.split_first_chunk::<2>() else {
        return;
    };
    let number = usize::from(u16::from_be_bytes([high, low]));
    as_it_comes(bytes, number);
    // Random bytes have no right checksums: with them added, the headers are reached.
    let framed = framed(bytes, number % (bytes.len() + 1));
    as_it_comes(&framed, number);
    reads_what_was_written(bytes, number);
});

type Read = (Vec<(Vec<u8>, Vec<u8>)>, usize, Option<BadMessage>);

fn as_it_comes(bytes: &[u8], number: usize) {
    let (a, b) = bytes.split_at(number % (bytes.len() + 1));
    let whole = read(&[bytes]);
    assert_eq!(read(&[a, b]), whole);
    let singles: Vec<&[u8]> = bytes.chunks(1).collect();
    assert_eq!(read(&singles), whole);
}

fn read(pieces: &[&[u8]]) -> Read {
    let (mut buffer, mut messages, mut taken) = (Vec::new(), Vec::new(), 0);
    for piece in pieces {
        buffer.extend_from_slice(piece);
        loop {
            match next_message(&buffer) {
                Ok(Some((message, length))) => {
                    assert!(length <= buffer.len());
                    let headers = format!("{:?}", message.headers().collect::<Vec<_>>());
                    messages.push((headers.into_bytes(), message.payload.to_vec()));
                    taken += length;
                    buffer.drain(..length);
                }
                Ok(None) => break,
                Err(bad) => return (messages, taken, Some(bad)),
            }
        }
    }
    (messages, taken, None)
}

fn framed(bytes: &[u8], headers: usize) -> Vec<u8> {
    let mut out = ((bytes.len() + 16) as u32).to_be_bytes().to_vec();
    out.extend_from_slice(&(headers as u32).to_be_bytes());
    out.extend_from_slice(&crc32fast::hash(&out).to_be_bytes());
    out.extend_from_slice(bytes);
    let checksum = crc32fast::hash(&out);
    out.extend_from_slice(&checksum.to_be_bytes());
    out
}

fn reads_what_was_written(bytes: &[u8], number: usize) {
    let (name, payload) = bytes.split_at(bytes.len() / 2);
    let name = String::from_utf8_lossy(name);
    let headers = [
        (":event-type", Value::Text(&name[..floor(&name, 300)])),
        ("bytes", Value::Bytes(payload)),
        ("number", Value::Long(number as i64)),
    ];
    let mut wire = Vec::new();
    write_message(&mut wire, &headers, payload);
    let (message, length) = next_message(&wire)
        .expect("what was written is good")
        .expect("and whole");
    assert_eq!(length, wire.len());
    assert_eq!(message.payload, payload);
    assert_eq!(message.headers().collect::<Vec<_>>(), headers);
    let bit = number % (wire.len() * 8);
    wire[bit / 8] ^= 1 << (bit % 8);
    assert!(next_message(&wire).is_err());
}

/// The last boundary of a character up to `at`.
fn floor(text: &str, at: usize) -> usize {
    let at = at.min(text.len());
    (0..=at)
        .rev()
        .find(|at| text.is_char_boundary(*at))
        .unwrap_or(0)
}
