//! Writes the heads and chunks that Ringside sends. A header value never carries a line end.

/// Interim response to `expect: 100-continue`.
pub const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// Appends the request line and the `host` header; the target is the concatenation of its parts.
pub fn begin_request(out: &mut Vec<u8>, method: &str, target_parts: &[&str], authority: &str) {
    out.extend_from_slice(method.as_bytes());
    out.push(b' ');
    for part in target_parts {
        out.extend_from_slice(part.as_bytes());
    }
    out.extend_from_slice(b" HTTP/1.1\r\n");
    header(out, "host", authority.as_bytes());
}

/// Appends the headers of every request to a provider: the gateway's name, and that the response must not be compressed,
/// since the gateway reads it.
pub(crate) fn gateway_headers(out: &mut Vec<u8>) {
    let agent = concat!("ringside/", env!("CARGO_PKG_VERSION"));
    header(out, "accept-encoding", b"identity");
    header(out, "user-agent", agent.as_bytes());
}

/// Appends the status line.
pub fn status_line(out: &mut Vec<u8>, status: u16) {
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(itoa::Buffer::new().format(status).as_bytes());
    out.push(b' ');
    out.extend_from_slice(reason(status).as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// Appends a header line. A header whose value contains CR, LF or NUL is left out, because it could end the head
/// early.
pub fn header(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    if memchr::memchr3(b'\r', b'\n', 0, value).is_some() {
        return;
    }
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// Appends a header line with a number.
pub fn header_u64(out: &mut Vec<u8>, name: &str, value: u64) {
    header(out, name, itoa::Buffer::new().format(value).as_bytes());
}

/// Appends the content length.
pub fn content_length(out: &mut Vec<u8>, bytes: u64) {
    header_u64(out, "content-length", bytes);
}

/// Appends the header that announces chunks.
pub fn chunked(out: &mut Vec<u8>) {
    header(out, "transfer-encoding", b"chunked");
}

/// Appends the blank line that ends a head.
pub fn end_head(out: &mut Vec<u8>) {
    out.extend_from_slice(b"\r\n");
}

/// Appends one chunk. Empty data appends nothing, because an empty chunk would end the body.
pub fn chunk(out: &mut Vec<u8>, data: &[u8]) {
    let mark = begin_chunk(out);
    out.extend_from_slice(data);
    finish_chunk(out, mark);
}

/// Appends the chunk that ends a body.
pub fn last_chunk(out: &mut Vec<u8>) {
    out.extend_from_slice(b"0\r\n\r\n");
}

/// The start of a chunk.
#[must_use = "an unfinished chunk has no size"]
pub struct ChunkMark(usize);

/// The size field of a chunk that is written in place. Its width is fixed; leading zeros are legal.
const SIZE_FIELD: &[u8; 10] = b"00000000\r\n";

/// Begins a chunk in place: everything that is appended until [`finish_chunk`] is its data.
pub fn begin_chunk(out: &mut Vec<u8>) -> ChunkMark {
    let mark = ChunkMark(out.len());
    out.extend_from_slice(SIZE_FIELD);
    mark
}

/// Fills in the size. A chunk without data is removed.
pub fn finish_chunk(out: &mut Vec<u8>, mark: ChunkMark) {
    let mut size = out.len().saturating_sub(mark.0 + SIZE_FIELD.len());
    if size == 0 {
        out.truncate(mark.0);
        return;
    }
    if let Some(field) = out.get_mut(mark.0..mark.0 + 8) {
        for digit in field.iter_mut().rev() {
            *digit = b"0123456789abcdef".get(size % 16).copied().unwrap_or(b'0');
            size /= 16;
        }
    }
    out.extend_from_slice(b"\r\n");
}

/// The reason phrase of a status (RFC 9110, 15).
#[must_use]
pub fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        204 => "No Content",
        400 => "Bad Request",
        401 => "Unauthorized",
        402 => "Payment Required",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        409 => "Conflict",
        413 => "Content Too Large",
        415 => "Unsupported Media Type",
        417 => "Expectation Failed",
        422 => "Unprocessable Content",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        499 => "Client Closed Request",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        529 => "Overloaded",
        _ => "Status",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::chunked::ChunkDecoder;

    #[test]
    fn request_heads() {
        let mut out = Vec::new();
        begin_request(&mut out, "POST", &["/base", "/path", "?q"], "host:1");
        end_head(&mut out);
        assert_eq!(out, b"POST /base/path?q HTTP/1.1\r\nhost: host:1\r\n\r\n");
    }

    #[test]
    fn response_heads() {
        let mut out = Vec::new();
        status_line(&mut out, 404);
        header(&mut out, "a", b"b");
        header(&mut out, "evil", b"x\r\nset-cookie: y");
        content_length(&mut out, 7);
        end_head(&mut out);
        assert_eq!(
            out,
            b"HTTP/1.1 404 Not Found\r\na: b\r\ncontent-length: 7\r\n\r\n"
        );
    }

    #[test]
    fn chunks_decode_to_their_data() {
        let mut out = Vec::new();
        let large = vec![b'x'; 70_000];
        chunk(&mut out, b"hello ");
        chunk(&mut out, b"");
        chunk(&mut out, &large);
        last_chunk(&mut out);
        let mut decoder = ChunkDecoder::default();
        let mut body = Vec::new();
        assert_eq!(decoder.read(&out, &mut body), Ok(out.len()));
        assert!(decoder.is_done());
        assert_eq!(body, [b"hello ".as_slice(), &large].concat());
    }
}
