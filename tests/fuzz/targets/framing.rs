//! A connection's bytes, request after request: boundaries and bodies do not depend on the split.

#![no_main]

#[path = "../../../src/http/mod.rs"]
#[allow(dead_code, reason = "the target uses a part of the module")]
mod http;

use http::chunked::BodyError;
use http::framing::{BodyLength, BodyReader, request_body, request_keep_alive, response_body};
use http::head::{Headers, Method, Parsed, Version};
use http::head::{parse_request_head, parse_response_head};
use http::limits::HeadLimits;
use libfuzzer_sys::fuzz_target;

/// What a connection came to.
#[derive(PartialEq, Debug)]
enum End {
    /// With whichever reason was seen first: of two, a split decides.
    Rejected,
    BrokenBody(BodyError),
    /// The bytes ran out.
    Unfinished,
    Closed,
}

#[derive(PartialEq, Debug)]
struct Request {
    target: String,
    begins: usize,
    ends: usize,
    body: Vec<u8>,
}

// First two bytes: where to split. Then a connection's bytes.
fuzz_target!(|data: &[u8]| {
    let Some((&[high, low], bytes)) = data.split_first_chunk::<2>() else {
        return;
    };
    let split = usize::from(u16::from_be_bytes([high, low])) % (bytes.len() + 1);
    let whole = connection(&[bytes]);
    assert_eq!(connection(&[&bytes[..split], &bytes[split..]]), whole);
    let singles: Vec<&[u8]> = bytes.chunks(1).collect();
    assert_eq!(connection(&singles), whole);
    if bytes.is_empty() {
        return;
    }
    // A prefix ends in what the whole ends in, or is unfinished, and finds no other requests.
    let (found, end) = connection(&[&bytes[..split]]);
    assert_eq!(found, whole.0[..found.len()]);
    assert!(end == End::Unfinished || (end == whole.1 && found.len() == whole.0.len()));
    response(bytes, split);
});

/// Reads requests from a buffer that grows piece by piece, as a listener does.
fn connection(pieces: &[&[u8]]) -> (Vec<Request>, End) {
    let limits = HeadLimits::default();
    let (mut requests, mut buffer, mut taken) = (Vec::new(), Vec::new(), 0);
    let mut reading: Option<(Request, BodyReader, bool)> = None;
    for piece in pieces {
        buffer.extend_from_slice(piece);
        loop {
            if let Some((mut request, mut reader, keeps)) = reading.take() {
                let consumed = match reader.read(&buffer, &mut request.body) {
                    Ok(consumed) => consumed,
                    Err(broken) => return (requests, End::BrokenBody(broken)),
                };
                assert!(consumed <= buffer.len());
                assert_eq!(reader.total(), request.body.len() as u64);
                buffer.drain(..consumed);
                taken += consumed;
                if !reader.is_done() {
                    assert!(buffer.is_empty());
                    assert_eq!(reader.end_of_input(), Err(BodyError::Truncated));
                    reading = Some((request, reader, keeps));
                    break;
                }
                // A finished reader takes nothing of the next request.
                assert_eq!(reader.read(&buffer, &mut request.body), Ok(0));
                assert_eq!(reader.end_of_input(), Ok(()));
                request.ends = taken;
                requests.push(request);
                if !keeps {
                    return (requests, End::Closed);
                }
            }
            let consumed = match parse_request_head(&buffer, &limits) {
                Err(_) => return (requests, End::Rejected),
                Ok(Parsed::NeedMore) => break,
                Ok(Parsed::Complete { value, consumed }) => {
                    let length = match request_body(&value) {
                        Ok(length) => length,
                        Err(_) => return (requests, End::Rejected),
                    };
                    agrees(&value.headers, value.version, length);
                    let request = Request {
                        target: value.target.to_owned(),
                        begins: taken,
                        ends: 0,
                        body: Vec::new(),
                    };
                    let keeps = request_keep_alive(&value);
                    reading = Some((request, BodyReader::new(length), keeps));
                    consumed
                }
            };
            buffer.drain(..consumed);
            taken += consumed;
        }
    }
    (requests, End::Unfinished)
}

/// The table, written a second time.
fn agrees(headers: &Headers<'_>, version: Version, length: BodyLength) {
    let lengths = headers.count("content-length");
    let encodings = headers.count("transfer-encoding");
    assert!(lengths + encodings <= 1);
    assert!(headers.count("host") <= 1 && headers.count("upgrade") == 0);
    assert!(version == Version::Http10 || headers.count("host") == 1);
    match length {
        BodyLength::Chunked => assert_eq!((encodings, version), (1, Version::Http11)),
        BodyLength::None => assert_eq!(encodings, 0),
        BodyLength::Exact(bytes) => {
            let digits = headers.get_str("content-length").unwrap_or_default();
            let plain = digits.trim_start_matches('0');
            assert_eq!(plain, bytes.to_string());
        }
        BodyLength::UntilClose => panic!("a request has no such body"),
    }
}

/// A provider's answer: the same body at any split.
fn response(bytes: &[u8], split: usize) {
    let Ok(Parsed::Complete { value, consumed }) =
        parse_response_head(bytes, &HeadLimits::default())
    else {
        return;
    };
    let Ok(length) = response_body(Method::Post, &value) else {
        return;
    };
    let body = &bytes[consumed..];
    let (a, b) = body.split_at(split.min(body.len()));
    assert_eq!(read(length, &[body]), read(length, &[a, b]));
}

type Outcome = (Result<bool, BodyError>, Vec<u8>, usize);

fn read(length: BodyLength, pieces: &[&[u8]]) -> Outcome {
    let (mut reader, mut out, mut taken) = (BodyReader::new(length), Vec::new(), 0);
    for piece in pieces {
        match reader.read(piece, &mut out) {
            Ok(consumed) => taken += consumed,
            // How much of a broken body came out first is no promise.
            Err(broken) => return (Err(broken), Vec::new(), 0),
        }
    }
    (Ok(reader.is_done()), out, taken)
}
