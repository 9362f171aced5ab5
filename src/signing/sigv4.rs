//! AWS Signature Version 4 in headers, for every service except S3 (AWS IAM User Guide, "Create a signed AWS API request").
//!
//! The canonical request is hashed in pieces and never held in memory. `sigv4_tests.rs` tests it against the published suite.

use crate::runtime::date::civil;
use ring::{digest, hmac};
use std::borrow::Cow;
use std::cmp::Ordering;

const ALGORITHM: &str = "AWS4-HMAC-SHA256";
/// Last part of every credential scope.
const TERMINATOR: &str = "aws4_request";

/// AWS credentials.
#[derive(Clone, PartialEq, Eq)]
pub struct AwsKeys {
    /// Access key id; not secret.
    pub access_key_id: String,
    /// `AWS4` and the secret access key: the first key in the derivation of the signing key.
    seed: String,
    /// Session token of temporary credentials.
    session_token: Option<String>,
}

impl std::fmt::Debug for AwsKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "AwsKeys({}, …)", self.access_key_id)
    }
}

impl AwsKeys {
    /// Credentials. Only temporary credentials have a session token.
    #[must_use]
    pub fn new(access_key_id: &str, secret: &str, session_token: Option<&str>) -> Self {
        Self {
            access_key_id: access_key_id.to_owned(),
            seed: format!("AWS4{secret}"),
            session_token: session_token.map(str::to_owned),
        }
    }
}

/// Region and service that a signature is valid for.
#[derive(Debug, Clone, Copy)]
pub struct Scope<'s> {
    /// Region, e.g. `eu-central-1`.
    pub region: &'s str,
    /// Service, e.g. `bedrock`.
    pub service: &'s str,
}

/// The parts of a request that are signed, exactly as they are sent.
#[derive(Debug, Clone, Copy)]
pub struct ToSign<'r> {
    /// Method in capitals.
    pub method: &'r str,
    /// Path of the request line, without the query.
    pub path: &'r str,
    /// Query of the request line, without the question mark; may be empty.
    pub query: &'r str,
    /// Headers to sign, with names in lower case and with `host`. [`write_headers`] signs the headers that it writes too.
    pub headers: &'r [(&'r str, &'r str)],
    /// The whole body.
    pub body: &'r [u8],
}

/// A time in the form `20150830T123600Z`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AmzDate([u8; 16]);

impl AmzDate {
    /// The time `seconds` after the Unix epoch, up to the year 9999.
    #[must_use]
    pub fn from_unix(seconds: u64) -> Self {
        let (days, second) = (seconds / 86_400, seconds % 86_400);
        let (year, month, day) = civil(days);
        let mut text = *b"00000000T000000Z";
        let mut put = |start: usize, digits: usize, mut value: u64| {
            for digit in text.iter_mut().skip(start).take(digits).rev() {
                *digit = b'0' + (value % 10) as u8;
                value /= 10;
            }
        };
        put(0, 4, year);
        put(4, 2, month);
        put(6, 2, day);
        put(9, 2, second / 3600);
        put(11, 2, second / 60 % 60);
        put(13, 2, second % 60);
        Self(text)
    }

    /// The text.
    #[must_use]
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    /// The date without the time, as `20150830`.
    fn day(&self) -> &str {
        self.text().get(..8).unwrap_or_default()
    }
}

/// Appends the header lines `x-amz-date`, `x-amz-security-token` (of temporary credentials) and
/// `authorization`.
pub fn write_headers(
    out: &mut Vec<u8>,
    keys: &AwsKeys,
    scope: Scope<'_>,
    at: AmzDate,
    request: &ToSign<'_>,
) {
    let signed = Signed {
        at: &at,
        token: keys.session_token.as_deref(),
        headers: request.headers,
    };
    let mut line = |parts: &[&str]| {
        for part in parts {
            out.extend_from_slice(part.as_bytes());
        }
    };
    line(&["x-amz-date: ", at.text(), "\r\n"]);
    if let Some(token) = &keys.session_token {
        line(&["x-amz-security-token: ", token, "\r\n"]);
    }
    line(&["authorization: ", ALGORITHM]);
    line(&[" Credential=", &keys.access_key_id, "/", at.day(), "/"]);
    line(&[scope.region, "/", scope.service, "/", TERMINATOR]);
    line(&[", SignedHeaders="]);
    signed.write_names(&mut |part| out.extend_from_slice(part));
    out.extend_from_slice(b", Signature=");
    let mut hash = digest::Context::new(&digest::SHA256);
    write_canonical(request, &signed, &mut |part| hash.update(part));
    let signature = sign(keys, scope, &at, hash.finish().as_ref());
    write_hex(signature.as_ref(), &mut |part| out.extend_from_slice(part));
    out.extend_from_slice(b"\r\n");
}

/// The signature of the string to sign, with the key derived for this day, region and service.
fn sign(keys: &AwsKeys, scope: Scope<'_>, at: &AmzDate, request_hash: &[u8]) -> hmac::Tag {
    let mut key = hmac::Key::new(hmac::HMAC_SHA256, keys.seed.as_bytes());
    for part in [at.day(), scope.region, scope.service, TERMINATOR] {
        let next = hmac::sign(&key, part.as_bytes());
        key = hmac::Key::new(hmac::HMAC_SHA256, next.as_ref());
    }
    let mut signature = hmac::Context::with_key(&key);
    let parts = [
        ALGORITHM,
        "\n",
        at.text(),
        "\n",
        at.day(),
        "/",
        scope.region,
        "/",
        scope.service,
        "/",
        TERMINATOR,
        "\n",
    ];
    for part in parts {
        signature.update(part.as_bytes());
    }
    write_hex(request_hash, &mut |part| signature.update(part));
    signature.sign()
}

/// The canonical request, in pieces.
fn write_canonical(request: &ToSign<'_>, signed: &Signed<'_>, put: &mut impl FnMut(&[u8])) {
    put(request.method.as_bytes());
    put(b"\n");
    write_path(request.path, put);
    put(b"\n");
    write_query(request.query, put);
    put(b"\n");
    signed.write_lines(put);
    put(b"\n");
    signed.write_names(put);
    put(b"\n");
    write_hex(digest::digest(&digest::SHA256, request.body).as_ref(), put);
}

/// The headers that are signed: those of the request, the date and the token.
struct Signed<'s> {
    at: &'s AmzDate,
    token: Option<&'s str>,
    headers: &'s [(&'s str, &'s str)],
}

impl<'s> Signed<'s> {
    fn all(&self) -> impl Iterator<Item = (&'s str, &'s str)> {
        let own = [
            Some(("x-amz-date", self.at.text())),
            self.token.map(|token| ("x-amz-security-token", token)),
        ];
        own.into_iter()
            .flatten()
            .chain(self.headers.iter().copied())
    }

    /// The names in alphabetical order, each once. Each step searches all headers: they are few, and no list is allocated.
    fn names(&self) -> impl Iterator<Item = &'s str> {
        let next = |after: &str| {
            let names = self.all().map(|(name, _)| name);
            names.filter(|name| *name > after).min()
        };
        std::iter::successors(next(""), move |name| next(name))
    }

    fn write_names(&self, put: &mut impl FnMut(&[u8])) {
        for (nth, name) in self.names().enumerate() {
            if nth > 0 {
                put(b";");
            }
            put(name.as_bytes());
        }
    }

    /// One line for each name, with the values of repeated headers in their order.
    fn write_lines(&self, put: &mut impl FnMut(&[u8])) {
        for wanted in self.names() {
            put(wanted.as_bytes());
            let values = self.all().filter(|(name, _)| *name == wanted);
            for (nth, (_, value)) in values.enumerate() {
                put(if nth == 0 { b":" } else { b"," });
                write_trimmed(value, put);
            }
            put(b"\n");
        }
    }
}

/// Writes a value without leading and trailing blanks, and with single blanks between words.
fn write_trimmed(value: &str, put: &mut impl FnMut(&[u8])) {
    for (nth, word) in value.split_ascii_whitespace().enumerate() {
        if nth > 0 {
            put(b" ");
        }
        put(word.as_bytes());
    }
}

/// Writes the path without dot segments, encoded once more than in the request line: a `%3A` becomes `%253A`.
fn write_path(path: &str, put: &mut impl FnMut(&[u8])) {
    for (nth, segment) in resolved(path).split('/').enumerate() {
        if nth > 0 {
            put(b"/");
        }
        write_encoded(segment, put);
    }
}

/// The path without empty, `.` and `..` segments.
fn resolved(path: &str) -> Cow<'_, str> {
    let is_plain = path.starts_with('/') && !path.contains("//") && !path.contains("/.");
    if is_plain {
        return Cow::Borrowed(path);
    }
    let mut segments: Vec<&str> = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => {
                segments.pop();
            }
            segment => segments.push(segment),
        }
    }
    let mut whole = format!("/{}", segments.join("/"));
    if path.ends_with('/') && !segments.is_empty() {
        whole.push('/');
    }
    Cow::Owned(whole)
}

/// Writes the parameters, ordered by their encoded names, then by their encoded values. Existing escapes stay.
fn write_query(query: &str, put: &mut impl FnMut(&[u8])) {
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    let mut pairs: Vec<(&str, &str)> = pairs
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .collect();
    pairs.sort_by(|a, b| compare(a.0, b.0).then_with(|| compare(a.1, b.1)));
    for (nth, (name, value)) in pairs.into_iter().enumerate() {
        if nth > 0 {
            put(b"&");
        }
        write_parameter(name, put);
        put(b"=");
        write_parameter(value, put);
    }
}

fn compare(a: &str, b: &str) -> Ordering {
    let encoded = |text: &str| {
        let mut bytes = Vec::with_capacity(text.len());
        write_parameter(text, &mut |part| bytes.extend_from_slice(part));
        bytes
    };
    encoded(a).cmp(&encoded(b))
}

/// Writes a name or value of a query. Existing escapes stay.
fn write_parameter(text: &str, put: &mut impl FnMut(&[u8])) {
    for (nth, part) in text.split('%').enumerate() {
        if nth == 0 {
            write_encoded(part, put);
            continue;
        }
        let is_escape =
            part.len() >= 2 && part.bytes().take(2).all(|byte| byte.is_ascii_hexdigit());
        put(if is_escape { b"%" } else { b"%25" });
        write_encoded(part, put);
    }
}

/// Writes text with all characters escaped except the unreserved ones (RFC 3986, 2.3).
fn write_encoded(text: &str, put: &mut impl FnMut(&[u8])) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~".contains(byte);
    let mut rest = text.as_bytes();
    while !rest.is_empty() {
        let plain = rest.iter().take_while(|byte| is_plain(byte)).count();
        let (before, after) = rest.split_at(plain);
        put(before);
        rest = after;
        if let Some((byte, after)) = rest.split_first() {
            let digit = |value: u8| DIGITS.get(usize::from(value)).copied().unwrap_or(b'0');
            put(&[b'%', digit(byte >> 4), digit(byte & 15)]);
            rest = after;
        }
    }
}

fn write_hex(bytes: &[u8], put: &mut impl FnMut(&[u8])) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for byte in bytes {
        let digit = |value: u8| DIGITS.get(usize::from(value)).copied().unwrap_or(b'0');
        put(&[digit(byte >> 4), digit(byte & 15)]);
    }
}
