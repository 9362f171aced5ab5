//! Multipart forms: the model is at the reported position, is the only one, and can be replaced.

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

use libfuzzer_sys::fuzz_target;
use protocols::json::multipart::{boundary, model};

// A content type, a line's end, and a body.
fuzz_target!(|data: &[u8]| {
    let Some(at) = data.iter().position(|byte| *byte == b'\n') else {
        return;
    };
    let (kind, body) = (&data[..at], &data[at + 1..]);
    let Some(boundary) = std::str::from_utf8(kind).ok().and_then(boundary) else {
        return;
    };
    assert!((1..=70).contains(&boundary.len()));
    let found = model(body, &boundary);
    let (name, range) = match found {
        Ok(found) => found,
        Err(error) => {
            assert_eq!(error.status, 400);
            return;
        }
    };
    assert_eq!(&body[range.clone()], name.as_bytes());
    assert!((1..=128).contains(&name.len()));
    assert!(body[..range.start].ends_with(b"\r\n\r\n"));
    let delimiter = format!("\r\n--{boundary}");
    assert!(body[range.end..].starts_with(delimiter.as_bytes()));
    assert!(count_of_models(body, &boundary) <= 1);
    // Another name in its place is found in its place.
    let other = [&body[..range.start], b"another", &body[range.end..]].concat();
    let (name, again) = model(&other, &boundary).expect("it was a form");
    assert_eq!((name.as_str(), again.start), ("another", range.start));
    // What is cut off before the end of the last part is no form.
    let cut = range.end;
    assert!(model(&body[..cut], &boundary).is_err());
});

/// Fields `model` as a careless parser sees them: lines may end in half a line's end and be folded, and it goes
/// on to the end of the closing delimiter.
fn count_of_models(body: &[u8], boundary: &str) -> usize {
    let text = String::from_utf8_lossy(body).replace("\r\n", "\n");
    let mut count = 0;
    for part in format!("\n{text}")
        .split(&format!("\n--{boundary}"))
        .skip(1)
    {
        if part.starts_with("--") {
            break;
        }
        let head = part.split("\n\n").next().unwrap_or_default();
        let head = head.replace("\n ", " ").replace("\n\t", " ").to_lowercase();
        let named = head.lines().any(|line| {
            let Some(value) = line.strip_prefix("content-disposition:") else {
                return false;
            };
            let plain = ["name=\"model\"", "name=model"];
            let parameters = value.split(';').map(str::trim);
            parameters.into_iter().any(|one| plain.contains(&one))
        });
        count += usize::from(named);
    }
    count
}
