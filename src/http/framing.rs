//! The length of a body. Request smuggling exploits disagreement about these rules:
//!
//! | rule | status |
//! |---|---|
//! | HTTP/1.1 without exactly one `host`, or with one that is not `name[:port]` | 400 |
//! | `content-length` with `transfer-encoding` | 400 |
//! | several `content-length`, even if equal; anything but 1 to 15 digits | 400 |
//! | `transfer-encoding` other than exactly `chunked`, once | 501 |
//! | `transfer-encoding` on HTTP/1.0 | 400 |
//! | `upgrade` | 400 |

use crate::http::chunked::{BodyError, ChunkDecoder};
use crate::http::head::{Headers, Method, RequestHead, ResponseHead, Version};
use crate::http::limits::CONTENT_LENGTH_DIGITS_MAX;
use crate::http::reject::{BadUpstream, Reject};

/// How a body ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BodyLength {
    /// No body.
    None,
    /// A body of this many bytes.
    Exact(u64),
    /// The last chunk ends the body.
    Chunked,
    /// The end of the connection ends the body (responses only).
    UntilClose,
}

/// The length of a request's body.
///
/// # Errors
/// The rules above.
pub fn request_body(head: &RequestHead<'_>) -> Result<BodyLength, Reject> {
    let headers = &head.headers;
    let hosts = headers.count("host");
    if hosts > 1 || (hosts == 0 && head.version == Version::Http11) {
        return Err(Reject::HostNotOnce);
    }
    if headers.get("host").is_some_and(|host| !is_host(host)) {
        return Err(Reject::BadHost);
    }
    if headers.get("upgrade").is_some() {
        return Err(Reject::Upgrade);
    }
    if headers
        .get("expect")
        .is_some_and(|value| !value.eq_ignore_ascii_case(b"100-continue"))
    {
        return Err(Reject::ExpectationNotSupported);
    }
    let length = content_length(headers).map_err(|bad| match bad {
        BadLength::Several => Reject::SeveralLengths,
        BadLength::NotANumber => Reject::BadLength,
    })?;
    let Some(chunked) = transfer_encoding(headers) else {
        return Ok(match length {
            None | Some(0) => BodyLength::None,
            Some(bytes) => BodyLength::Exact(bytes),
        });
    };
    if length.is_some() {
        return Err(Reject::LengthAndTransferEncoding);
    }
    if head.version == Version::Http10 {
        return Err(Reject::TransferEncodingOnHttp10);
    }
    if !chunked {
        return Err(Reject::TransferEncodingNotSupported);
    }
    Ok(BodyLength::Chunked)
}

/// Whether a `host` is a name or address with an optional port (RFC 9112, 3.2). A comma is not accepted, because a
/// parser that joins lines of the same name reads two hosts.
fn is_host(value: &[u8]) -> bool {
    let (is_name, port) = match value.strip_prefix(b"[") {
        Some(rest) => {
            let end = memchr::memchr(b']', rest).unwrap_or(0);
            let (address, port) = rest.split_at(end);
            let legal = |byte: &u8| byte.is_ascii_hexdigit() || b":.".contains(byte);
            (
                end > 0 && address.iter().all(legal),
                port.get(1..).unwrap_or_default(),
            )
        }
        None => {
            let end = memchr::memchr(b':', value).unwrap_or(value.len());
            let (name, port) = value.split_at(end);
            let legal =
                |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+;=%".contains(byte);
            (end > 0 && name.iter().all(legal), port)
        }
    };
    let is_port = match port.split_first() {
        None => true,
        Some((colon, digits)) => {
            *colon == b':' && digits.len() <= 5 && digits.iter().all(u8::is_ascii_digit)
        }
    };
    is_name && is_port
}

/// The length of the body of a response to a request with the method `request_method`.
///
/// # Errors
/// Framing that two parsers could read differently.
pub fn response_body(
    request_method: Method,
    head: &ResponseHead<'_>,
) -> Result<BodyLength, BadUpstream> {
    let length = content_length(&head.headers).map_err(|bad| match bad {
        BadLength::Several => BadUpstream::SeveralLengths,
        BadLength::NotANumber => BadUpstream::BadLength,
    })?;
    let encoding = transfer_encoding(&head.headers);
    if encoding.is_some() && length.is_some() {
        return Err(BadUpstream::LengthAndTransferEncoding);
    }
    if request_method == Method::Head || matches!(head.status, 100..=199 | 204 | 304) {
        return Ok(BodyLength::None);
    }
    match (encoding, length) {
        (Some(true), _) if head.version == Version::Http11 => Ok(BodyLength::Chunked),
        (Some(_), _) => Err(BadUpstream::TransferEncodingNotSupported),
        (None, Some(0)) => Ok(BodyLength::None),
        (None, Some(bytes)) => Ok(BodyLength::Exact(bytes)),
        (None, None) => Ok(BodyLength::UntilClose),
    }
}

/// Whether the client keeps the connection open.
#[must_use]
pub fn request_keep_alive(head: &RequestHead<'_>) -> bool {
    keep_alive(head.version, &head.headers)
}

/// Whether the provider keeps the connection open.
#[must_use]
pub fn response_keep_alive(head: &ResponseHead<'_>) -> bool {
    keep_alive(head.version, &head.headers)
}

/// Whether the client waits for `100 Continue` before it sends the body.
#[must_use]
pub fn expects_continue(head: &RequestHead<'_>) -> bool {
    head.version == Version::Http11 && head.headers.get("expect").is_some()
}

fn keep_alive(version: Version, headers: &Headers<'_>) -> bool {
    let mut keeps = version == Version::Http11;
    for (name, value) in headers.iter() {
        if !name.eq_ignore_ascii_case("connection") {
            continue;
        }
        for word in value.split(|byte| *byte == b',') {
            let word = word.trim_ascii();
            if word.eq_ignore_ascii_case(b"close") {
                return false;
            }
            keeps |= word.eq_ignore_ascii_case(b"keep-alive");
        }
    }
    keeps
}

enum BadLength {
    Several,
    NotANumber,
}

fn content_length(headers: &Headers<'_>) -> Result<Option<u64>, BadLength> {
    let Some(value) = headers.get("content-length") else {
        return Ok(None);
    };
    if headers.count("content-length") > 1 {
        return Err(BadLength::Several);
    }
    let plain = (1..=CONTENT_LENGTH_DIGITS_MAX).contains(&value.len())
        && value.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(value)
        .ok()
        .filter(|_| plain)
        .and_then(|digits| digits.parse().ok())
        .map(Some)
        .ok_or(BadLength::NotANumber)
}

/// `None` without the header; otherwise whether its value is exactly `chunked`, once.
fn transfer_encoding(headers: &Headers<'_>) -> Option<bool> {
    let value = headers.get("transfer-encoding")?;
    Some(headers.count("transfer-encoding") == 1 && value.eq_ignore_ascii_case(b"chunked"))
}

/// Reads a body of any length, piece by piece.
#[derive(Debug)]
pub struct BodyReader {
    state: State,
    total: u64,
}

#[derive(Debug)]
enum State {
    Exact { left: u64 },
    Chunked(ChunkDecoder),
    UntilClose,
    Done,
}

impl BodyReader {
    /// A reader at the body's first byte.
    #[must_use]
    pub fn new(length: BodyLength) -> Self {
        let state = match length {
            BodyLength::None | BodyLength::Exact(0) => State::Done,
            BodyLength::Exact(left) => State::Exact { left },
            BodyLength::Chunked => State::Chunked(ChunkDecoder::default()),
            BodyLength::UntilClose => State::UntilClose,
        };
        Self { state, total: 0 }
    }

    /// Appends decoded bytes to `out` and returns how many bytes of `input` were consumed: all of them, unless the
    /// body ends earlier.
    ///
    /// # Errors
    /// Malformed chunks.
    pub fn read(&mut self, input: &[u8], out: &mut Vec<u8>) -> Result<usize, BodyError> {
        let before = out.len();
        let consumed = match &mut self.state {
            State::Done => 0,
            State::UntilClose => {
                out.extend_from_slice(input);
                input.len()
            }
            State::Exact { left } => {
                let wanted = usize::try_from(*left).unwrap_or(usize::MAX);
                let piece = input.get(..wanted.min(input.len())).unwrap_or(input);
                out.extend_from_slice(piece);
                *left -= piece.len() as u64;
                let count = piece.len();
                if *left == 0 {
                    self.state = State::Done;
                }
                count
            }
            State::Chunked(decoder) => {
                let count = decoder.read(input, out)?;
                if decoder.is_done() {
                    self.state = State::Done;
                }
                count
            }
        };
        self.total += (out.len() - before) as u64;
        Ok(consumed)
    }

    /// Whether the body is complete.
    #[must_use]
    pub fn is_done(&self) -> bool {
        matches!(self.state, State::Done)
    }

    /// The bytes that are known to follow: the rest of a body with a length, or of the current chunk.
    #[must_use]
    pub fn announced(&self) -> u64 {
        match &self.state {
            State::Exact { left } => *left,
            State::Chunked(decoder) => decoder.announced(),
            State::UntilClose | State::Done => 0,
        }
    }

    /// Reports that the peer closed the connection.
    ///
    /// # Errors
    /// The body is incomplete.
    pub fn end_of_input(&mut self) -> Result<(), BodyError> {
        match self.state {
            State::Done | State::UntilClose => {
                self.state = State::Done;
                Ok(())
            }
            _ => Err(BodyError::Truncated),
        }
    }

    /// Decoded bytes so far.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.total
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::head::{Parsed, parse_request_head, parse_response_head};
    use crate::http::limits::HeadLimits;

    fn body_of(head: &str) -> Result<BodyLength, Reject> {
        let text = format!("{head}\r\n\r\n");
        match parse_request_head(text.as_bytes(), &HeadLimits::default())? {
            Parsed::Complete { value, .. } => request_body(&value),
            Parsed::NeedMore => panic!("unfinished: {text:?}"),
        }
    }

    #[test]
    fn request_bodies_follow_the_rules() {
        let post = |headers: &str| body_of(&format!("POST / HTTP/1.1\r\nhost: a{headers}"));
        assert_eq!(post(""), Ok(BodyLength::None));
        assert_eq!(post("\r\ncontent-length: 0"), Ok(BodyLength::None));
        assert_eq!(post("\r\ncontent-length: 007"), Ok(BodyLength::Exact(7)));
        assert_eq!(
            post("\r\ntransfer-encoding: Chunked"),
            Ok(BodyLength::Chunked)
        );
        for (headers, reject) in [
            ("\r\nhost: b", Reject::HostNotOnce),
            (
                "\r\ncontent-length: 1\r\ntransfer-encoding: chunked",
                Reject::LengthAndTransferEncoding,
            ),
            (
                "\r\ncontent-length: 1\r\ncontent-length: 1",
                Reject::SeveralLengths,
            ),
            ("\r\ncontent-length: 1, 1", Reject::BadLength),
            ("\r\ncontent-length: +1", Reject::BadLength),
            ("\r\ncontent-length: 0x1", Reject::BadLength),
            ("\r\ncontent-length:", Reject::BadLength),
            ("\r\ncontent-length: 1234567890123456", Reject::BadLength),
            (
                "\r\ntransfer-encoding: gzip, chunked",
                Reject::TransferEncodingNotSupported,
            ),
            (
                "\r\ntransfer-encoding: chunked\r\ntransfer-encoding: chunked",
                Reject::TransferEncodingNotSupported,
            ),
            (
                "\r\ntransfer-encoding: \"chunked\"",
                Reject::TransferEncodingNotSupported,
            ),
            ("\r\nupgrade: h2c", Reject::Upgrade),
            ("\r\nexpect: 200-ok", Reject::ExpectationNotSupported),
        ] {
            assert_eq!(post(headers), Err(reject), "{headers:?}");
        }
        assert_eq!(body_of("POST / HTTP/1.1\r\na: b"), Err(Reject::HostNotOnce));
        assert_eq!(body_of("POST / HTTP/1.0\r\na: b"), Ok(BodyLength::None));
        let old = "POST / HTTP/1.0\r\ntransfer-encoding: chunked";
        assert_eq!(body_of(old), Err(Reject::TransferEncodingOnHttp10));
    }

    #[test]
    fn a_host_is_a_name_or_address_with_an_optional_port() {
        let host = |value: &str| body_of(&format!("GET / HTTP/1.1\r\nhost:{value}"));
        for good in [
            "a",
            "a.example",
            "A-b_c.example.",
            "a:80",
            "a:",
            "127.0.0.1:8080",
            "[::1]",
            "[::1]:80",
            "[::ffff:127.0.0.1]:1",
            "  padded  ",
            "xn--a",
            "a%2d",
        ] {
            assert_eq!(host(good), Ok(BodyLength::None), "{good:?}");
        }
        for bad in [
            "",
            "a b@c/d?e",
            "a b",
            "a,b",
            "a/b",
            "a?b",
            "a#b",
            "u@a",
            "http://a",
            ":80",
            "a:b",
            "a:80:80",
            "a:-1",
            "a:+1",
            "a:123456",
            "::1",
            "[::1",
            "[]",
            "[::1]x",
            "[::1]:x",
            "[a b]",
            "[v1.x]",
            "\"a\"",
            "a\\b",
            "a\tb",
            "\u{e9}",
            "a<b>",
            "{a}",
        ] {
            assert_eq!(host(bad), Err(Reject::BadHost), "{bad:?}");
        }
        assert_eq!(body_of("GET / HTTP/1.0\r\nhost: a b"), Err(Reject::BadHost));
    }

    #[test]
    fn what_a_body_announces_is_known_before_it_arrives() {
        let mut out = Vec::new();
        let mut exact = BodyReader::new(BodyLength::Exact(5));
        assert_eq!(exact.read(b"he", &mut out), Ok(2));
        assert_eq!(exact.announced(), 3);
        let mut chunked = BodyReader::new(BodyLength::Chunked);
        assert_eq!(chunked.read(b"ffffff", &mut out), Ok(6));
        assert_eq!(chunked.announced(), 0);
        assert_eq!(chunked.read(b";a=b\r\nxyz", &mut out), Ok(9));
        assert_eq!(chunked.announced(), 0xff_ffff - 3);
    }

    #[test]
    fn response_bodies_follow_the_rules() {
        let body = |request_method: Method, status: u16, headers: &str| {
            let text = format!("HTTP/1.1 {status} X\r\n{headers}\r\n");
            match parse_response_head(text.as_bytes(), &HeadLimits::default()) {
                Ok(Parsed::Complete { value, .. }) => response_body(request_method, &value),
                other => panic!("{other:?}"),
            }
        };
        let post = Method::Post;
        assert_eq!(body(post, 200, ""), Ok(BodyLength::UntilClose));
        assert_eq!(
            body(post, 200, "content-length: 5\r\n"),
            Ok(BodyLength::Exact(5))
        );
        assert_eq!(
            body(post, 200, "transfer-encoding: chunked\r\n"),
            Ok(BodyLength::Chunked)
        );
        assert_eq!(
            body(Method::Head, 200, "content-length: 5\r\n"),
            Ok(BodyLength::None)
        );
        for status in [100, 204, 304] {
            assert_eq!(
                body(post, status, "content-length: 5\r\n"),
                Ok(BodyLength::None)
            );
        }
        for headers in [
            "content-length: 5\r\ncontent-length: 5\r\n",
            "content-length: 5\r\ntransfer-encoding: chunked\r\n",
            "transfer-encoding: identity\r\n",
            "content-length: five\r\n",
        ] {
            assert!(body(post, 200, headers).is_err(), "{headers:?}");
        }
    }

    #[test]
    fn a_body_ends_at_its_length_or_with_the_connection() {
        let mut reader = BodyReader::new(BodyLength::Exact(5));
        let mut out = Vec::new();
        assert_eq!(reader.read(b"he", &mut out), Ok(2));
        assert_eq!(reader.end_of_input(), Err(BodyError::Truncated));
        assert_eq!(reader.read(b"lloNEXT", &mut out), Ok(3));
        assert!(reader.is_done());
        assert_eq!((out.as_slice(), reader.total()), (&b"hello"[..], 5));
        let mut reader = BodyReader::new(BodyLength::UntilClose);
        assert_eq!(reader.read(b"abc", &mut out), Ok(3));
        assert!(!reader.is_done());
        assert_eq!(reader.end_of_input(), Ok(()));
        assert!(reader.is_done());
    }

    #[test]
    fn the_connection_header_decides_keep_alive() {
        for (text, keeps_alive) in [
            ("GET / HTTP/1.1\r\n\r\n", true),
            ("GET / HTTP/1.1\r\nConnection: x, Close\r\n\r\n", false),
            ("GET / HTTP/1.0\r\n\r\n", false),
            ("GET / HTTP/1.0\r\nconnection: keep-alive\r\n\r\n", true),
        ] {
            match parse_request_head(text.as_bytes(), &HeadLimits::default()) {
                Ok(Parsed::Complete { value, .. }) => {
                    assert_eq!(request_keep_alive(&value), keeps_alive);
                }
                other => panic!("{other:?}"),
            }
        }
    }
}
