//! Server-sent events: any split finds the same events, and none is lost, cut or joined.

#![no_main]

#[path = "../../../src/http/mod.rs"]
#[allow(dead_code, reason = "the target uses a part of the module")]
mod http;

use http::sse::{SseSplitter, event_data, event_name, write_event};
use libfuzzer_sys::fuzz_target;

// First two bytes: where to split. Then a stream.
fuzz_target!(|data: &[u8]| {
    let Some((&[high, low], bytes)) = data.split_first_chunk::<2>() else {
        return;
    };
    let split = usize::from(u16::from_be_bytes([high, low])) % (bytes.len() + 1);
    let (events, rest) = events(&[bytes]);
    let (a, b) = bytes.split_at(split);
    assert_eq!(self::events(&[a, b]), (events.clone(), rest.clone()));
    let singles: Vec<&[u8]> = bytes.chunks(1).collect();
    assert_eq!(self::events(&singles), (events.clone(), rest.clone()));
    assert_eq!([events.concat(), rest].concat(), bytes);
    for event in &events {
        assert!(matches!(event.last(), Some(b'\n' | b'\r')));
        let _ = event_name(event);
        let lines = lines(event);
        assert_eq!(lines.iter().filter(|line| line.is_empty()).count(), 1);
        assert_eq!(event_data(event).as_deref(), data_of(&lines).as_deref());
    }
    let line: Vec<u8> = bytes
        .iter()
        .copied()
        .filter(|byte| !b"\r\n".contains(byte))
        .collect();
    let mut written = Vec::new();
    write_event(&mut written, &line);
    assert_eq!(
        self::events(&[&written]),
        (vec![written.clone()], Vec::new())
    );
    assert_eq!(event_data(&written).as_deref(), Some(line.as_slice()));
});

/// Complete events, and what is left.
fn events(pieces: &[&[u8]]) -> (Vec<Vec<u8>>, Vec<u8>) {
    let (mut splitter, mut buffer, mut events) = (SseSplitter::new(), Vec::new(), Vec::new());
    for piece in pieces {
        buffer.extend_from_slice(piece);
        while let Some(length) = splitter.next_event(&buffer).expect("below the bound") {
            assert!(0 < length && length <= buffer.len());
            events.push(buffer.drain(..length).collect());
        }
    }
    (events, buffer)
}

/// Lines by the definition, character by character; the blank line that ends an event included.
fn lines(event: &[u8]) -> Vec<Vec<u8>> {
    let (mut lines, mut line, mut at) = (Vec::new(), Vec::new(), 0);
    while let Some(byte) = event.get(at) {
        at += 1;
        match byte {
            b'\r' | b'\n' => {
                if *byte == b'\r' && event.get(at) == Some(&b'\n') {
                    at += 1;
                }
                lines.push(std::mem::take(&mut line));
            }
            other => line.push(*other),
        }
    }
    assert!(line.is_empty());
    lines
}

/// The data by the definition.
fn data_of(lines: &[Vec<u8>]) -> Option<Vec<u8>> {
    let mut values = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let mut line = line.as_slice();
        if at == 0 && line.starts_with(b"\xef\xbb\xbf") {
            line = &line[3..];
        }
        let colon = line.iter().position(|byte| *byte == b':');
        let (name, value) = match colon {
            Some(colon) => (&line[..colon], &line[colon + 1..]),
            None => (line, &b""[..]),
        };
        if name == b"data" {
            values.push(value.strip_prefix(b" ").unwrap_or(value).to_vec());
        }
    }
    (!values.is_empty()).then(|| values.join(&b'\n'))
}
