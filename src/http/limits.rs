//! The limits of a message.

/// The limits of a message head.
#[derive(Clone, Copy, Debug)]
pub struct HeadLimits {
    /// Bytes of a head, including its blank line.
    pub head_bytes_max: usize,
    /// Header lines; [`HEADERS_MAX`] at most.
    pub headers_max: usize,
}

/// Most header lines of any head.
pub const HEADERS_MAX: usize = 64;

impl Default for HeadLimits {
    fn default() -> Self {
        Self {
            head_bytes_max: 16 * 1024,
            headers_max: HEADERS_MAX,
        }
    }
}

/// Hexadecimal digits of a chunk's size: up to 4 GiB.
pub const CHUNK_SIZE_DIGITS_MAX: usize = 8;
/// Bytes of a chunk's extensions, which are skipped.
pub const CHUNK_EXTENSION_BYTES_MAX: usize = 256;
/// Bytes of the extensions of all chunks of a body, so that chunks of one byte cannot each have 256 bytes of
/// extensions.
pub const CHUNK_EXTENSIONS_BYTES_MAX: usize = 8 * 1024;
/// Bytes of the trailers after the last chunk, which are checked and dropped.
pub const TRAILER_BYTES_MAX: usize = 8 * 1024;
/// Digits of a content length: less than 1 PB, so arithmetic cannot overflow.
pub const CONTENT_LENGTH_DIGITS_MAX: usize = 15;
/// Bytes of one server-sent event. Events with images reach megabytes.
pub const SSE_EVENT_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Bytes of one message of AWS's event stream: the limit of a server-sent event.
pub const EVENT_MESSAGE_BYTES_MAX: usize = SSE_EVENT_BYTES_MAX;
/// Bytes of the headers of such a message (AWS's own limit, smithy.io, "Amazon Event Stream").
pub const EVENT_HEADERS_BYTES_MAX: usize = 128 * 1024;
