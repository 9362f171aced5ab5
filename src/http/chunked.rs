//! Decodes the chunked transfer coding with a small state machine, whatever the split of the input.

use crate::http::limits::{
    CHUNK_EXTENSION_BYTES_MAX, CHUNK_EXTENSIONS_BYTES_MAX, CHUNK_SIZE_DIGITS_MAX, HEADERS_MAX,
    TRAILER_BYTES_MAX,
};
use std::fmt;

/// Why a body is malformed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs, reason = "the variants' messages say what they mean")]
pub enum BodyError {
    ChunkSize,
    ChunkExtension,
    ChunkLineEnd,
    Trailer,
    Truncated,
}

impl fmt::Display for BodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ChunkSize => write!(
                f,
                "a chunk's size is not 1 to {CHUNK_SIZE_DIGITS_MAX} hexadecimal digits"
            ),
            Self::ChunkExtension => write!(
                f,
                "a chunk's extensions are malformed or longer than {CHUNK_EXTENSION_BYTES_MAX} bytes, \
                 {CHUNK_EXTENSIONS_BYTES_MAX} in the whole body"
            ),
            Self::ChunkLineEnd => f.write_str("a chunk does not end in CR LF"),
            Self::Trailer => write!(
                f,
                "the trailers are malformed, more than {HEADERS_MAX} or longer than {TRAILER_BYTES_MAX} bytes"
            ),
            Self::Truncated => f.write_str("the connection ended before the body"),
        }
    }
}

/// The decoder of one body.
#[derive(Debug, Default)]
pub struct ChunkDecoder {
    state: State,
    /// Bytes of extensions in all chunks so far: they are cheap to send, and the limit of the body does not include
    /// them.
    extensions_bytes: usize,
    trailer_bytes: usize,
    trailers: usize,
}

#[derive(Debug, Clone, Copy, Default)]
enum State {
    /// At a chunk's size, after `digits` digits.
    #[default]
    SizeStart,
    Size {
        size: u64,
        digits: usize,
    },
    /// In the extensions of a chunk of `size` bytes.
    Extension {
        size: u64,
        bytes: usize,
    },
    /// After the CR of a size line.
    SizeLineFeed {
        size: u64,
    },
    Data {
        left: u64,
    },
    DataCarriageReturn,
    DataLineFeed,
    /// At the start of a trailer line.
    TrailerStart,
    TrailerName,
    TrailerValue,
    TrailerLineFeed,
    /// After the CR of the last, empty line.
    LastLineFeed,
    Done,
}

impl ChunkDecoder {
    /// Whether the last chunk and its trailers were read.
    #[must_use]
    pub fn is_done(&self) -> bool {
        matches!(self.state, State::Done)
    }

    /// The bytes of the current chunk that have not arrived.
    #[must_use]
    pub fn announced(&self) -> u64 {
        match self.state {
            State::Extension { size, .. } | State::SizeLineFeed { size } => size,
            State::Data { left } => left,
            _ => 0,
        }
    }

    /// Appends decoded bytes to `out`; returns how many bytes of `input` were consumed.
    ///
    /// # Errors
    /// [`BodyError`]; after an error nothing more may be read.
    pub fn read(&mut self, input: &[u8], out: &mut Vec<u8>) -> Result<usize, BodyError> {
        let mut at = 0;
        while let Some(byte) = input.get(at) {
            match self.state {
                State::Done => break,
                State::Data { left } => {
                    let wanted = usize::try_from(left).unwrap_or(usize::MAX);
                    let end = at.saturating_add(wanted).min(input.len());
                    let piece = input.get(at..end).unwrap_or_default();
                    out.extend_from_slice(piece);
                    at = end;
                    let left = left - piece.len() as u64;
                    self.state = match left {
                        0 => State::DataCarriageReturn,
                        left => State::Data { left },
                    };
                }
                state => {
                    self.count(*byte)?;
                    self.state = step(state, *byte)?;
                    at += 1;
                }
            }
        }
        Ok(at)
    }

    /// Limits the bytes of a body that are not data.
    fn count(&mut self, byte: u8) -> Result<(), BodyError> {
        match self.state {
            State::Extension { .. } => {
                self.extensions_bytes += 1;
                if self.extensions_bytes > CHUNK_EXTENSIONS_BYTES_MAX {
                    return Err(BodyError::ChunkExtension);
                }
            }
            State::TrailerStart
            | State::TrailerName
            | State::TrailerValue
            | State::TrailerLineFeed => {
                self.trailer_bytes += 1;
                if matches!(self.state, State::TrailerStart) && byte != b'\r' {
                    self.trailers += 1;
                }
                if self.trailer_bytes > TRAILER_BYTES_MAX || self.trailers > HEADERS_MAX {
                    return Err(BodyError::Trailer);
                }
            }
            _ => {}
        }
        Ok(())
    }
}

/// Reads one byte of framing.
fn step(state: State, byte: u8) -> Result<State, BodyError> {
    match (state, byte) {
        (State::SizeStart, _) => digit(0, 0, byte),
        (State::Size { size, .. }, b'\r') => Ok(State::SizeLineFeed { size }),
        (State::Size { size, .. }, b';') => Ok(State::Extension { size, bytes: 1 }),
        (State::Size { size, digits }, _) => digit(size, digits, byte),
        (State::Extension { size, .. }, b'\r') => Ok(State::SizeLineFeed { size }),
        (State::Extension { .. }, b'\n' | 0) => Err(BodyError::ChunkExtension),
        (State::Extension { size, bytes }, _) if bytes < CHUNK_EXTENSION_BYTES_MAX => {
            Ok(State::Extension {
                size,
                bytes: bytes + 1,
            })
        }
        (State::Extension { .. }, _) => Err(BodyError::ChunkExtension),
        (State::SizeLineFeed { size: 0 }, b'\n') => Ok(State::TrailerStart),
        (State::SizeLineFeed { size }, b'\n') => Ok(State::Data { left: size }),
        (State::SizeLineFeed { .. }, _) => Err(BodyError::ChunkLineEnd),
        (State::DataCarriageReturn, b'\r') => Ok(State::DataLineFeed),
        (State::DataLineFeed, b'\n') => Ok(State::SizeStart),
        (State::DataCarriageReturn | State::DataLineFeed, _) => Err(BodyError::ChunkLineEnd),
        (State::TrailerStart, b'\r') => Ok(State::LastLineFeed),
        (State::TrailerName, b':') => Ok(State::TrailerValue),
        // Another parser could read an invalid header line as the next request.
        (State::TrailerStart | State::TrailerName, _) if is_token(byte) => Ok(State::TrailerName),
        (State::TrailerValue, b'\r') => Ok(State::TrailerLineFeed),
        (State::TrailerValue, b'\t' | b' '..=b'~' | 0x80..) => Ok(State::TrailerValue),
        (State::TrailerStart | State::TrailerName | State::TrailerValue, _) => {
            Err(BodyError::Trailer)
        }
        (State::TrailerLineFeed, b'\n') => Ok(State::TrailerStart),
        (State::LastLineFeed, b'\n') => Ok(State::Done),
        (State::TrailerLineFeed | State::LastLineFeed, _) => Err(BodyError::Trailer),
        (State::Data { .. } | State::Done, _) => Ok(state),
    }
}

/// Whether a header name may contain `byte` (RFC 9110, 5.6.2).
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

fn digit(size: u64, digits: usize, byte: u8) -> Result<State, BodyError> {
    let value = char::from(byte).to_digit(16).ok_or(BodyError::ChunkSize)?;
    if digits == CHUNK_SIZE_DIGITS_MAX {
        return Err(BodyError::ChunkSize);
    }
    Ok(State::Size {
        size: size * 16 + u64::from(value),
        digits: digits + 1,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(pieces: &[&[u8]]) -> Result<(Vec<u8>, usize, bool), BodyError> {
        let mut decoder = ChunkDecoder::default();
        let (mut out, mut consumed) = (Vec::new(), 0);
        for piece in pieces {
            consumed += decoder.read(piece, &mut out)?;
        }
        Ok((out, consumed, decoder.is_done()))
    }

    #[test]
    fn any_split_gives_the_same_body_and_the_same_end() {
        let whole = b"5;a=\"b\"\r\nhello\r\n00000006\r\n world\r\n0\r\nX-T: v\r\nY: \r\n\r\nNEXT";
        let end = whole.len() - 4;
        for split in 0..=end {
            let (a, b) = whole.split_at(split);
            let decoded = decode(&[a, b]).unwrap();
            assert_eq!(
                decoded,
                (b"hello world".to_vec(), end, true),
                "split {split}"
            );
        }
    }

    #[test]
    fn malformed_chunks_are_rejected() {
        let long_extension = format!("1;{}\r\n", "x".repeat(300));
        let long_trailer = format!("0\r\na: {}\r\n", "x".repeat(9000));
        let many_extensions = format!("1;{}\r\na\r\n", "x".repeat(250)).repeat(40);
        let many_trailers = format!("0\r\n{}\r\n", "a:\r\n".repeat(65));
        for (bytes, error) in [
            (&b"\r\n"[..], BodyError::ChunkSize),
            (b"g\r\n", BodyError::ChunkSize),
            (b"-1\r\n", BodyError::ChunkSize),
            (b"0x1\r\n", BodyError::ChunkSize),
            (b" 1\r\n", BodyError::ChunkSize),
            (b"1 \r\n", BodyError::ChunkSize),
            (b"123456789\r\n", BodyError::ChunkSize),
            (b"1\n", BodyError::ChunkSize),
            (b"1\rx", BodyError::ChunkLineEnd),
            (b"1;a\n", BodyError::ChunkExtension),
            (long_extension.as_bytes(), BodyError::ChunkExtension),
            (b"1\r\nab", BodyError::ChunkLineEnd),
            (b"1\r\na\n", BodyError::ChunkLineEnd),
            (b"0\r\n x: y\r\n", BodyError::Trailer),
            (b"0\r\nx: y\n", BodyError::Trailer),
            (b"0\r\n\rx", BodyError::Trailer),
            (b"0\r\nGET / HTTP/1.1\r\n", BodyError::Trailer),
            (b"0\r\nx : y\r\n", BodyError::Trailer),
            (b"0\r\n: y\r\n", BodyError::Trailer),
            (b"0\r\nx: \x7f", BodyError::Trailer),
            (long_trailer.as_bytes(), BodyError::Trailer),
            (many_trailers.as_bytes(), BodyError::Trailer),
            (many_extensions.as_bytes(), BodyError::ChunkExtension),
        ] {
            assert_eq!(decode(&[bytes]).err(), Some(error), "{bytes:?}");
        }
    }
}
