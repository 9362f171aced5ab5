//! Parses request and response heads: a strict scan first, then httparse finds the parts.
//!
//! httparse alone is lenient (it accepts a bare line feed as a line end), and request smuggling exploits lenient
//! parsers.

use crate::http::limits::{HEADERS_MAX, HeadLimits};
use crate::http::reject::{BadUpstream, Reject};
use crate::http::scan::{check_request_line, is_origin_form, strict_scan};
use std::mem::MaybeUninit;

/// The result of parsing the bytes so far.
#[derive(Debug)]
pub enum Parsed<T> {
    /// A complete value.
    Complete {
        /// The value.
        value: T,
        /// The bytes that the value consists of.
        consumed: usize,
    },
    /// More bytes are needed.
    NeedMore,
}

/// A request's method.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs, reason = "the variants are the methods of RFC 9110")]
pub enum Method {
    Get,
    Head,
    Post,
    Put,
    Patch,
    Delete,
    Options,
    Connect,
    Trace,
    /// Any other method.
    Other,
}

/// A message's protocol version.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Version {
    /// HTTP/1.0
    Http10,
    /// HTTP/1.1
    Http11,
}

/// A request's head.
#[derive(Debug)]
pub struct RequestHead<'b> {
    /// Method.
    pub method: Method,
    /// The target in origin form: it begins with `/`.
    pub target: &'b str,
    /// Protocol version.
    pub version: Version,
    /// Header lines.
    pub headers: Headers<'b>,
}

/// A response's head.
#[derive(Debug)]
pub struct ResponseHead<'b> {
    /// Status, 100 to 999.
    pub status: u16,
    /// Protocol version.
    pub version: Version,
    /// Header lines.
    pub headers: Headers<'b>,
}

/// Header lines in their order. They are on the heap, because a head lives as long as its request, and inline space
/// for [`HEADERS_MAX`] lines would be most of a request's memory.
#[derive(Debug)]
pub struct Headers<'b>(Vec<(&'b str, &'b [u8])>);

impl<'b> Headers<'b> {
    /// The value of the first header with this name; the case is ignored.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&'b [u8]> {
        self.0
            .iter()
            .find(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| *value)
    }

    /// Like [`Headers::get`], if the value is UTF-8.
    #[must_use]
    pub fn get_str(&self, name: &str) -> Option<&'b str> {
        std::str::from_utf8(self.get(name)?).ok()
    }

    /// The number of headers with this name.
    #[must_use]
    pub fn count(&self, name: &str) -> usize {
        self.0
            .iter()
            .filter(|(key, _)| key.eq_ignore_ascii_case(name))
            .count()
    }

    /// All headers.
    pub fn iter(&self) -> impl Iterator<Item = (&'b str, &'b [u8])> + '_ {
        self.0.iter().copied()
    }
}

/// The offset after the blank line that ends a head. `from` is the end of an earlier search minus three bytes, so
/// that the start of a growing head is not searched again.
#[must_use]
pub fn head_end(bytes: &[u8], from: usize) -> Option<usize> {
    // A head has about a dozen line ends: checking each is cheaper than building a substring searcher.
    let rest = bytes.get(from..)?;
    memchr::memchr_iter(b'\n', rest)
        .map(|at| from + at + 1)
        .find(|end| {
            bytes
                .get(..*end)
                .is_some_and(|head| head.ends_with(b"\r\n\r\n"))
        })
}

/// Parses a request head at the start of `bytes`.
///
/// # Errors
/// [`Reject`], also for an incomplete head that can no longer become valid.
pub fn parse_request_head<'b>(
    bytes: &'b [u8],
    limits: &HeadLimits,
) -> Result<Parsed<RequestHead<'b>>, Reject> {
    let too_large = Reject::HeadTooLarge {
        bytes_max: limits.head_bytes_max,
    };
    let end = head_end(bytes, 0);
    let head = bytes.get(..end.unwrap_or(bytes.len())).unwrap_or(bytes);
    if head.len() > limits.head_bytes_max {
        return Err(too_large);
    }
    strict_scan(head)?;
    let Some(consumed) = end else {
        return Ok(Parsed::NeedMore);
    };
    check_request_line(head)?;
    let mut spans = [const { MaybeUninit::uninit() }; HEADERS_MAX];
    let mut request = httparse::Request::new(&mut []);
    let too_many = Reject::TooManyHeaders {
        headers_max: limits.headers_max,
    };
    match request.parse_with_uninit_headers(head, &mut spans) {
        Ok(httparse::Status::Complete(_)) => {}
        Err(httparse::Error::TooManyHeaders) => return Err(too_many),
        Ok(httparse::Status::Partial) | Err(_) => return Err(Reject::Malformed),
    }
    let (Some(name), Some(target)) = (request.method, request.path) else {
        return Err(Reject::Malformed);
    };
    let method = method(name);
    if method == Method::Connect {
        return Err(Reject::MethodNotAllowed);
    }
    if !is_origin_form(target) {
        return Err(Reject::TargetNotOriginForm);
    }
    let headers = collect(request.headers, limits).ok_or(too_many)?;
    Ok(Parsed::Complete {
        value: RequestHead {
            method,
            target,
            version: version(request.version),
            headers,
        },
        consumed,
    })
}

/// Parses a response head at the start of `bytes`.
///
/// # Errors
/// [`BadUpstream`].
pub fn parse_response_head<'b>(
    bytes: &'b [u8],
    limits: &HeadLimits,
) -> Result<Parsed<ResponseHead<'b>>, BadUpstream> {
    let end = head_end(bytes, 0);
    let head = bytes.get(..end.unwrap_or(bytes.len())).unwrap_or(bytes);
    if head.len() > limits.head_bytes_max {
        return Err(BadUpstream::HeadTooLarge {
            bytes_max: limits.head_bytes_max,
        });
    }
    strict_scan(head).map_err(|reject| match reject {
        Reject::TooManyHeaders { headers_max } => BadUpstream::TooManyHeaders { headers_max },
        _ => BadUpstream::Malformed,
    })?;
    let Some(consumed) = end else {
        return Ok(Parsed::NeedMore);
    };
    let mut spans = [const { MaybeUninit::uninit() }; HEADERS_MAX];
    let mut response = httparse::Response::new(&mut []);
    let parser = httparse::ParserConfig::default();
    let too_many = BadUpstream::TooManyHeaders {
        headers_max: limits.headers_max,
    };
    match parser.parse_response_with_uninit_headers(&mut response, head, &mut spans) {
        Ok(httparse::Status::Complete(_)) => {}
        Err(httparse::Error::TooManyHeaders) => return Err(too_many),
        Ok(httparse::Status::Partial) | Err(_) => return Err(BadUpstream::Malformed),
    }
    let status = response.code.filter(|code| *code >= 100);
    let headers = collect(response.headers, limits).ok_or(too_many)?;
    Ok(Parsed::Complete {
        value: ResponseHead {
            status: status.ok_or(BadUpstream::Malformed)?,
            version: version(response.version),
            headers,
        },
        consumed,
    })
}

fn collect<'b>(spans: &[httparse::Header<'b>], limits: &HeadLimits) -> Option<Headers<'b>> {
    if spans.len() > limits.headers_max {
        return None;
    }
    let lines = spans.iter().map(|header| (header.name, header.value));
    Some(Headers(lines.collect()))
}

fn version(minor: Option<u8>) -> Version {
    if minor == Some(0) {
        Version::Http10
    } else {
        Version::Http11
    }
}

fn method(name: &str) -> Method {
    match name {
        "GET" => Method::Get,
        "HEAD" => Method::Head,
        "POST" => Method::Post,
        "PUT" => Method::Put,
        "PATCH" => Method::Patch,
        "DELETE" => Method::Delete,
        "OPTIONS" => Method::Options,
        "CONNECT" => Method::Connect,
        "TRACE" => Method::Trace,
        _ => Method::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Parsed<RequestHead<'_>>, Reject> {
        parse_request_head(text.as_bytes(), &HeadLimits::default())
    }

    #[test]
    fn a_valid_head_is_parsed() {
        let text = "POST /v1/x?y HTTP/1.1\r\nHost: a\r\nX-Y:  b c \r\n\r\nbody";
        let Ok(Parsed::Complete { value, consumed }) = parse(text) else {
            panic!("not complete")
        };
        assert_eq!(consumed, text.len() - 4);
        assert_eq!((value.method, value.target), (Method::Post, "/v1/x?y"));
        assert_eq!(value.headers.get_str("x-y"), Some("b c"));
        assert_eq!(value.headers.count("HOST"), 1);
    }

    #[test]
    fn malformed_heads_are_rejected() {
        let many: String = (0..65).map(|at| format!("h{at}: v\r\n")).collect();
        let long = "x".repeat(17_000);
        for (head, reject) in [
            ("GET / HTTP/1.1\nHost: a\n\n", Reject::BareLineFeed),
            (
                "GET / HTTP/1.1\r\nA: b\rc\r\n\r\n",
                Reject::BareCarriageReturn,
            ),
            ("GET / HTTP/1.1\r\nA: b\0c\r\n\r\n", Reject::NulByte),
            ("GET / HTTP/1.1\r\nA: b\r\n c\r\n\r\n", Reject::FoldedHeader),
            ("GET / HTTP/1.1\r\nA : b\r\n\r\n", Reject::Malformed),
            ("GET / HTTP/1.1\r\nA(: b\r\n\r\n", Reject::Malformed),
            ("GET / HTTP/1.1\r\nnothing\r\n\r\n", Reject::Malformed),
            ("GET  / HTTP/1.1\r\n\r\n", Reject::RequestLine),
            ("GET /  HTTP/1.1\r\n\r\n", Reject::RequestLine),
            ("GET /\r\n\r\n", Reject::RequestLine),
            ("G(T / HTTP/1.1\r\n\r\n", Reject::Malformed),
            ("GET / HTTP/2.0\r\n\r\n", Reject::VersionNotSupported),
            ("GET / HTTP/1.2\r\n\r\n", Reject::VersionNotSupported),
            (
                "GET http://a/ HTTP/1.1\r\n\r\n",
                Reject::TargetNotOriginForm,
            ),
            ("OPTIONS * HTTP/1.1\r\n\r\n", Reject::TargetNotOriginForm),
            ("GET /a#b HTTP/1.1\r\n\r\n", Reject::TargetNotOriginForm),
            ("GET /a`b HTTP/1.1\r\n\r\n", Reject::TargetNotOriginForm),
            ("GET /\u{e9} HTTP/1.1\r\n\r\n", Reject::TargetNotOriginForm),
            ("CONNECT a:1 HTTP/1.1\r\n\r\n", Reject::MethodNotAllowed),
            (
                &format!("GET / HTTP/1.1\r\n{many}\r\n"),
                Reject::TooManyHeaders { headers_max: 64 },
            ),
            (
                &format!("GET /{long} HTTP/1.1\r\n\r\n"),
                Reject::HeadTooLarge { bytes_max: 16_384 },
            ),
            (
                &format!("GET /{long}"),
                Reject::HeadTooLarge { bytes_max: 16_384 },
            ),
        ] {
            assert_eq!(parse(head).err(), Some(reject), "{head:?}");
        }
    }

    #[test]
    fn a_valid_head_is_accepted_at_any_split() {
        let text = "GET / HTTP/1.1\r\nHost: a\r\nB: c\r\n\r\n";
        for split in 0..text.len() {
            let part = text.get(..split).unwrap();
            assert!(matches!(parse(part), Ok(Parsed::NeedMore)), "{part:?}");
        }
        assert_eq!(head_end(text.as_bytes(), 10), Some(text.len()));
    }

    #[test]
    fn the_lines_of_a_head_are_limited_before_it_is_complete() {
        let with_headers = |count: usize| format!("GET / HTTP/1.1\r\n{}", "a:b\r\n".repeat(count));
        let most = with_headers(HEADERS_MAX);
        assert!(matches!(parse(&most), Ok(Parsed::NeedMore)));
        let head = format!("{most}\r\n");
        assert!(matches!(parse(&head), Ok(Parsed::Complete { .. })));
        let reject = Reject::TooManyHeaders { headers_max: 64 };
        assert_eq!(parse(&with_headers(HEADERS_MAX + 2)).err(), Some(reject));
    }

    #[test]
    fn response_heads_are_parsed() {
        let parse =
            |text: &'static str| parse_response_head(text.as_bytes(), &HeadLimits::default());
        for (text, status) in [
            ("HTTP/1.1 200 OK\r\nA: b\r\n\r\n", 200),
            ("HTTP/1.1 200\r\n\r\n", 200),
            ("HTTP/1.0 503 \r\n\r\n", 503),
        ] {
            let Ok(Parsed::Complete { value, .. }) = parse(text) else {
                panic!("{text:?}")
            };
            assert_eq!(value.status, status);
        }
        for text in [
            "SSH-2.0-x\r\n\r\n",
            "HTTP/1.1 20 OK\r\n\r\n",
            "HTTP/1.1 200 OK\nA: b\n\r\n\r\n",
        ] {
            assert!(parse(text).is_err(), "{text:?}");
        }
    }
}
