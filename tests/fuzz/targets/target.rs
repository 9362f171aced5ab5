//! Request targets of the provider proxy, and Gemini's, which name the model: no path leaves the base URL of a
//! provider, and a model's name is read as it is written.

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

use http::head::{Method, Parsed, parse_request_head};
use http::limits::HeadLimits;
use http::percent;
use libfuzzer_sys::fuzz_target;
use protocols::client_api::ClientApi;
use protocols::endpoints::{Operation, operation};
use protocols::gemini::client::api::Gemini;
use protocols::json::document::Scratch;
use protocols::{passthrough, registry};
use signing::auth::{Auth, BEARER};
use signing::sigv4::{AmzDate, AwsKeys, Scope, ToSign};

// A request's target.
fuzz_target!(|data: &[u8]| {
    let head = [b"POST ", data, b" HTTP/1.1\r\nhost: t\r\n\r\n"].concat();
    let Ok(Parsed::Complete { value, .. }) = parse_request_head(&head, &HeadLimits::default())
    else {
        return;
    };
    let target = value.target;
    let client_api = registry::client_api_for(target);
    let _ = client_api.key_in_query(target);
    match operation(Method::Post, target) {
        Ok(Operation::ProviderProxy(proxy)) => {
            assert!(target.ends_with(proxy.rest));
            if passthrough::check_path(proxy.rest).is_ok() {
                stays_below(proxy.rest);
            }
        }
        Ok(Operation::Chat(client_api)) if client_api.name() == Gemini.name() => names_its_model(target),
        _ => {}
    }
});

/// However often it is decoded, it leads to no place above where it began; and it can be signed.
fn stays_below(rest: &str) {
    let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
    let mut decoded = path.as_bytes().to_vec();
    for _ in 0..16 {
        let mut depth = 0_i32;
        for segment in decoded.split(|byte| matches!(byte, b'/' | b'\\')) {
            match segment {
                b"." | b"" => {}
                b".." => depth -= 1,
                _ => depth += 1,
            }
            assert!(depth >= 0, "{rest}");
        }
        assert!(!decoded.iter().any(u8::is_ascii_control), "{rest}");
        decoded = leniently_decoded(&decoded);
    }
    let keys = AwsKeys::new("A", "s", None);
    let scope = Scope {
        region: "r",
        service: "s",
    };
    let auth = Auth::Aws {
        keys: &keys,
        scope,
        at: AmzDate::from_unix(0),
    };
    let path = ["/v1", path].concat();
    let sent = ToSign {
        method: "POST",
        path: &path,
        query,
        headers: &[("host", "h")],
        body: b"",
    };
    let mut out = Vec::new();
    auth.write(&mut out, BEARER, &sent);
    assert!(out.ends_with(b"\r\n"));
}

/// What is no escape stays as it is.
fn leniently_decoded(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some((first, after)) = rest.split_first() {
        let escape = rest.get(1..3).and_then(|two| std::str::from_utf8(two).ok());
        let is_hex = |two: &&str| two.bytes().all(|byte| byte.is_ascii_hexdigit());
        let value = escape
            .filter(is_hex)
            .and_then(|two| u8::from_str_radix(two, 16).ok());
        match (first, value) {
            (b'%', Some(value)) => {
                out.push(value);
                rest = &rest[3..];
            }
            _ => {
                out.push(*first);
                rest = after;
            }
        }
    }
    out
}

/// The model's name is that of the path, and escaped again it is the same model's.
fn names_its_model(target: &str) {
    let mut scratch = Scratch::default();
    let body = br#"{"contents":[{"parts":[{"text":"hi"}]}]}"#;
    let Ok(read) = Gemini.inspect_request(target, body, &mut scratch, true) else {
        return;
    };
    assert!(!read.model.is_empty());
    let mut escaped = String::new();
    percent::push_escaped(&read.model, b"", &mut escaped);
    assert_eq!(percent::unescaped(&escaped).as_deref(), Some(&*read.model));
    let action = if read.stream {
        "streamGenerateContent?alt=sse"
    } else {
        "generateContent"
    };
    let again = format!("/v1beta/models/{escaped}:{action}");
    let again = Gemini
        .inspect_request(&again, body, &mut scratch, true)
        .expect("it was read before");
    assert_eq!((again.model, again.stream), (read.model, read.stream));
}
