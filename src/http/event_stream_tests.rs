//! Tests of the event stream encoding: golden bytes that `botocore.eventstream` reads to the same values, any split,
//! any flipped bit.

use super::*;

/// One text event as Bedrock sends it.
const DELTA: &str = "0000009400000057b4ab9aee0b3a6576656e742d74797065070011636f6e74656e74426c6f636b44656c74610d3a636f6e74656e742d747970650700106170706c69636174696f6e2f6a736f6e0d3a6d6573736167652d747970650700056576656e747b22636f6e74656e74426c6f636b496e646578223a302c2264656c7461223a7b2274657874223a226869227d7dde556953";
/// One header of each type, no payload.
const TYPES: &str = "0000007700000067fd06174d017400016601046279746502ff0573686f727403fffe03696e7404fffffffd046c6f6e6705fffffffffffffffc05627974657306000300ff7f0474657874070002c3a90474696d65080000014f7e9b6f80047575696409000102030405060708090a0b0c0d0e0f6d95ce21";
/// No headers and no payload.
const EMPTY: &str = "000000100000000005c248eb7d98c8ff";

fn bytes(hex: &str) -> Vec<u8> {
    let digit = |byte: &u8| (*byte as char).to_digit(16).unwrap() as u8;
    let pair = |pair: &[u8; 2]| digit(&pair[0]) << 4 | digit(&pair[1]);
    hex.as_bytes().as_chunks::<2>().0.iter().map(pair).collect()
}

type Headers = Vec<(&'static str, Value<'static>)>;

/// Bytes in hexadecimal, and the headers and payload that they encode.
fn golden() -> [(&'static str, Headers, &'static [u8]); 3] {
    const UUID: [u8; 16] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];
    [
        (
            DELTA,
            vec![
                (":event-type", Value::Text("contentBlockDelta")),
                (":content-type", Value::Text("application/json")),
                (":message-type", Value::Text("event")),
            ],
            br#"{"contentBlockIndex":0,"delta":{"text":"hi"}}"#,
        ),
        (
            TYPES,
            vec![
                ("t", Value::Bool(true)),
                ("f", Value::Bool(false)),
                ("byte", Value::Byte(-1)),
                ("short", Value::Short(-2)),
                ("int", Value::Int(-3)),
                ("long", Value::Long(-4)),
                ("bytes", Value::Bytes(b"\0\xff\x7f")),
                ("text", Value::Text("é")),
                ("time", Value::Timestamp(1_440_938_160_000)),
                ("uuid", Value::Uuid(UUID)),
            ],
            b"",
        ),
        (EMPTY, vec![], b""),
    ]
}

#[test]
fn golden_messages_are_read_and_written() {
    for (hex, headers, payload) in golden() {
        let wire = bytes(hex);
        let (message, length) = next_message(&wire).unwrap().unwrap();
        assert_eq!(length, wire.len());
        assert_eq!(message.headers().collect::<Vec<_>>(), headers);
        assert_eq!(message.payload, payload);
        let mut written = Vec::new();
        write_message(&mut written, &headers, payload);
        assert_eq!(written, wire);
    }
    let wire = bytes(DELTA);
    let (message, _) = next_message(&wire).unwrap().unwrap();
    assert_eq!(message.text(":event-type"), Some("contentBlockDelta"));
    assert_eq!(message.text("event-type"), None);
}

#[test]
fn any_split_gives_the_same_messages() {
    let wire: Vec<u8> = [DELTA, EMPTY, TYPES, DELTA]
        .iter()
        .flat_map(|hex| bytes(hex))
        .collect();
    let read = |pieces: &[&[u8]]| {
        let (mut buffer, mut payloads) = (Vec::new(), Vec::new());
        for piece in pieces {
            buffer.extend_from_slice(piece);
            while let Some((message, length)) = next_message(&buffer).unwrap() {
                payloads.push((message.headers().count(), message.payload.to_vec()));
                buffer.drain(..length);
            }
        }
        assert!(buffer.is_empty());
        payloads
    };
    let whole = read(&[&wire]);
    assert_eq!(whole.len(), 4);
    for at in 0..=wire.len() {
        let (a, b) = wire.split_at(at);
        assert_eq!(read(&[a, b]), whole, "split {at}");
    }
    let singles: Vec<&[u8]> = wire.chunks(1).collect();
    assert_eq!(read(&singles), whole);
}

#[test]
fn any_flipped_bit_is_rejected() {
    for (hex, _, _) in golden() {
        let wire = bytes(hex);
        for bit in 0..wire.len() * 8 {
            let mut flipped = wire.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let expected = if bit < PRELUDE_BYTES * 8 {
                BadMessage::PreludeChecksum
            } else {
                BadMessage::MessageChecksum
            };
            assert_eq!(next_message(&flipped), Err(expected), "bit {bit}");
        }
    }
}

/// A prelude with a valid checksum.
fn prelude(total: usize, headers: usize) -> Vec<u8> {
    let mut out = Vec::new();
    out.extend_from_slice(&(total as u32).to_be_bytes());
    out.extend_from_slice(&(headers as u32).to_be_bytes());
    let checksum = crc32fast::hash(&out);
    out.extend_from_slice(&checksum.to_be_bytes());
    out
}

#[test]
fn lengths_are_checked_with_the_prelude_alone() {
    let cases = [
        (EVENT_MESSAGE_BYTES_MAX, 0, Ok(None)),
        (EVENT_MESSAGE_BYTES_MAX + 1, 0, Err(BadMessage::TooLarge)),
        (
            u32::MAX as usize,
            u32::MAX as usize,
            Err(BadMessage::TooLarge),
        ),
        (
            1 << 20,
            EVENT_HEADERS_BYTES_MAX + 1,
            Err(BadMessage::TooLarge),
        ),
        (FRAME_BYTES - 1, 0, Err(BadMessage::Lengths)),
        (FRAME_BYTES + 5, 6, Err(BadMessage::Lengths)),
        (0, 0, Err(BadMessage::Lengths)),
    ];
    for (total, headers, expected) in cases {
        assert_eq!(next_message(&prelude(total, headers)), expected);
    }
}

/// A message with these header bytes and valid checksums.
fn with_headers(headers: &[u8]) -> Vec<u8> {
    let mut out = prelude(FRAME_BYTES + headers.len(), headers.len());
    out.extend_from_slice(headers);
    let checksum = crc32fast::hash(&out);
    out.extend_from_slice(&checksum.to_be_bytes());
    out
}

#[test]
fn malformed_headers_are_rejected() {
    let cases: [&[u8]; 10] = [
        b"\x00\x00",
        b"\x01",
        b"\x02a",
        b"\x01a",
        b"\x01a\x0a",
        b"\x01a\x02",
        b"\x01a\x07\x00\x02x",
        b"\x01a\x07\x00\x01\xff",
        b"\x01\xff\x00",
        b"\x01a\x00\x01a\x01",
    ];
    for headers in cases {
        let wire = with_headers(headers);
        assert_eq!(next_message(&wire), Err(BadMessage::Header), "{headers:?}");
    }
    let many = |count: u8| -> Vec<u8> { (1..=count).flat_map(|name| [1, name, 0]).collect() };
    let most = with_headers(&many(HEADERS_MAX as u8));
    assert!(matches!(next_message(&most), Ok(Some(_))));
    let wire = with_headers(&many(HEADERS_MAX as u8 + 1));
    assert_eq!(next_message(&wire), Err(BadMessage::TooLarge));
}
