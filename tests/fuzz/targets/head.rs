//! Request and response heads: a split never contradicts the whole, and nothing outlives its bytes.

#![no_main]

#[path = "../../../src/http/mod.rs"]
#[allow(dead_code, reason = "the target uses a part of the module")]
mod http;

use http::framing::{expects_continue, request_body, request_keep_alive};
use http::framing::{response_body, response_keep_alive};
use http::head::{Headers, Method, Parsed, Version};
use http::head::{head_end, parse_request_head, parse_response_head};
use http::limits::HeadLimits;
use libfuzzer_sys::fuzz_target;

// First two bytes: where to split. Then a head.
fuzz_target!(|data: &[u8]| {
    let Some((&[high, low], bytes)) = data.split_first_chunk::<2>() else {
        return;
    };
    let split = usize::from(u16::from_be_bytes([high, low])) % (bytes.len() + 1);
    // Small bounds, so that the fuzzer reaches them.
    for limits in [
        HeadLimits::default(),
        HeadLimits {
            head_bytes_max: 200,
            headers_max: 4,
        },
    ] {
        request(bytes, split, &limits);
        response(bytes, split, &limits);
    }
    ends(bytes, split);
});

fn request(bytes: &[u8], split: usize, limits: &HeadLimits) {
    let whole = parse_request_head(bytes, limits);
    let prefix = parse_request_head(&bytes[..split], limits);
    match &whole {
        Ok(Parsed::Complete { value, consumed }) => {
            assert!(*consumed <= bytes.len() && *consumed <= limits.head_bytes_max);
            assert!(bytes[..*consumed].ends_with(b"\r\n\r\n"));
            assert_eq!(head_end(bytes, 0), Some(*consumed));
            assert!(value.target.starts_with('/'));
            assert!(!value.target.contains([' ', '\r', '\n', '\0']));
            assert_ne!(value.method, Method::Connect);
            headers(&value.headers, limits);
            // What follows the head has no say in it, and neither has its last byte alone.
            let alone = parse_request_head(&bytes[..*consumed], limits);
            assert_eq!(format!("{alone:?}"), format!("{whole:?}"));
            match prefix {
                Ok(Parsed::NeedMore) => assert!(split < *consumed),
                Ok(Parsed::Complete { .. }) => {
                    assert!(split >= *consumed);
                    assert_eq!(format!("{prefix:?}"), format!("{whole:?}"));
                }
                Err(reject) => panic!("an accepted head was refused at {split}: {reject:?}"),
            }
            let reject = request_body(value).err();
            assert!(reject.is_none_or(|reject| matches!(reject.status(), 400 | 417 | 501)));
            let _ = request_keep_alive(value);
            assert!(!expects_continue(value) || value.version == Version::Http11);
        }
        Ok(Parsed::NeedMore) => {
            assert!(bytes.len() <= limits.head_bytes_max);
            assert_eq!(head_end(bytes, 0), None);
            assert!(matches!(prefix, Ok(Parsed::NeedMore)), "{prefix:?}");
        }
        Err(reject) => {
            assert!(matches!(reject.status(), 400 | 405 | 431 | 505));
            assert!(!reject.to_string().is_empty());
            // A prefix may be undecided yet, but never whole.
            assert!(!matches!(prefix, Ok(Parsed::Complete { .. })), "{prefix:?}");
        }
    }
}

fn response(bytes: &[u8], split: usize, limits: &HeadLimits) {
    let whole = parse_response_head(bytes, limits);
    let prefix = parse_response_head(&bytes[..split], limits);
    match &whole {
        Ok(Parsed::Complete { value, consumed }) => {
            assert!(*consumed <= bytes.len() && *consumed <= limits.head_bytes_max);
            assert!((100..=999).contains(&value.status));
            headers(&value.headers, limits);
            match prefix {
                Ok(Parsed::NeedMore) => assert!(split < *consumed),
                Ok(Parsed::Complete { .. }) => {
                    assert_eq!(format!("{prefix:?}"), format!("{whole:?}"));
                }
                Err(bad) => panic!("an accepted head was refused at {split}: {bad:?}"),
            }
            let _ = response_body(Method::Post, value);
            let _ = response_body(Method::Head, value);
            let _ = response_keep_alive(value);
        }
        Ok(Parsed::NeedMore) => assert!(matches!(prefix, Ok(Parsed::NeedMore)), "{prefix:?}"),
        Err(bad) => {
            assert!(!bad.to_string().is_empty());
            assert!(!matches!(prefix, Ok(Parsed::Complete { .. })), "{prefix:?}");
        }
    }
}

fn headers(headers: &Headers<'_>, limits: &HeadLimits) {
    let lines: Vec<_> = headers.iter().collect();
    assert!(lines.len() <= limits.headers_max);
    for (name, value) in lines {
        assert!(!name.is_empty() && name.bytes().all(|byte| byte.is_ascii_graphic()));
        assert!(!name.contains(':'));
        assert!(!value.iter().any(|byte| matches!(byte, 0 | b'\r' | b'\n')));
        assert!(headers.count(name) >= 1 && headers.get(name).is_some());
        assert!(headers.get(&name.to_ascii_uppercase()).is_some());
    }
}

/// A search that goes on three bytes before where the last one ended finds the same end.
fn ends(bytes: &[u8], split: usize) {
    let whole = head_end(bytes, 0);
    match head_end(&bytes[..split], 0) {
        Some(end) => assert_eq!(Some(end), whole),
        None => assert_eq!(head_end(bytes, split.saturating_sub(3)), whole),
    }
}
