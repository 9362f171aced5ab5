//! Rejects what httparse accepts and a head must not contain; only for `head`.

use crate::http::limits::HEADERS_MAX;
use crate::http::reject::Reject;

/// Lines of a head: the first, the headers, and the blank one.
const LINES_MAX: usize = HEADERS_MAX + 2;

/// Checks that every line ends in CR LF, that CR and LF occur only together, and that there is no NUL and no folded
/// header. The head may be incomplete. It is scanned again whenever more of it arrives, so its lines are counted here
/// already: nobody can make the scan long by many short ones.
pub(crate) fn strict_scan(head: &[u8]) -> Result<(), Reject> {
    if memchr::memchr(0, head).is_some() {
        return Err(Reject::NulByte);
    }
    let (mut from, mut lines) = (0, 0);
    for at in memchr::memchr2_iter(b'\r', b'\n', head) {
        if at < from {
            // The line feed of a pair that was checked with its CR.
            continue;
        }
        match (head.get(at), head.get(at + 1)) {
            (Some(b'\n'), _) => return Err(Reject::BareLineFeed),
            (_, Some(b'\n')) => {
                from = at + 2;
                lines += 1;
                if lines > LINES_MAX {
                    return Err(Reject::TooManyHeaders {
                        headers_max: HEADERS_MAX,
                    });
                }
            }
            // An incomplete head may end between CR and LF.
            (_, None) => return Ok(()),
            _ => return Err(Reject::BareCarriageReturn),
        }
        if matches!(head.get(from), Some(b' ' | b'\t')) {
            return Err(Reject::FoldedHeader);
        }
    }
    Ok(())
}

/// Checks for two single spaces, a target without spaces, and a supported version.
pub(crate) fn check_request_line(head: &[u8]) -> Result<(), Reject> {
    let end = memchr::memchr(b'\r', head).unwrap_or(head.len());
    let line = head.get(..end).unwrap_or(head);
    let mut words = line.split(|byte| *byte == b' ');
    let (Some(name), Some(target), Some(version), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(Reject::RequestLine);
    };
    if name.is_empty() || target.is_empty() {
        return Err(Reject::RequestLine);
    }
    match version {
        b"HTTP/1.1" | b"HTTP/1.0" => Ok(()),
        other if other.starts_with(b"HTTP/") => Err(Reject::VersionNotSupported),
        _ => Err(Reject::RequestLine),
    }
}

/// Whether `target` is a path and query of the characters of RFC 3986 and the square brackets that clients send
/// unescaped. A fragment is rejected, because parsers that remove it read another target.
pub(crate) fn is_origin_form(target: &str) -> bool {
    let legal =
        |byte: u8| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@%/?[]".contains(&byte);
    target.starts_with('/') && target.bytes().all(legal)
}
