//! The bounds of a message, each with its name.

/// Bounds of a message head.
#[derive(Clone, Copy, Debug)]
pub struct HeadLimits {
    /// Bytes of a head, its blank line included.
    pub head_bytes_max: usize,
    /// Header lines; [`HEADERS_MAX`] at most.
    pub headers_max: usize,
}

/// Header lines a head can hold at all.
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
/// Bytes of the extensions of all chunks of a body: a chunk of one byte may not bring 256 each time.
pub const CHUNK_EXTENSIONS_BYTES_MAX: usize = 8 * 1024;
/// Bytes of the trailers behind the last chunk, which are checked and dropped.
pub const TRAILER_BYTES_MAX: usize = 8 * 1024;
/// Digits of a content length: below 1 PB, and far from any overflow.
pub const CONTENT_LENGTH_DIGITS_MAX: usize = 15;
/// Bytes of one server-sent event. Events that carry images reach megabytes.
pub const SSE_EVENT_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Bytes of one message of AWS's event stream, as of one server-sent event.
pub const EVENT_MESSAGE_BYTES_MAX: usize = SSE_EVENT_BYTES_MAX;
/// Bytes of the headers of such a message (AWS's own limit, smithy.io, "Amazon Event Stream").
pub const EVENT_HEADERS_BYTES_MAX: usize = 128 * 1024;
