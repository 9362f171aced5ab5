//! AWS's event stream encoding (`application/vnd.amazon.eventstream`), which Bedrock uses for streams: finds the end
//! of a message, checks it, reads it, and writes messages.
//!
//! All numbers are big-endian. A message consists of its length and the length of its headers (4 bytes each), their
//! CRC-32, the headers, the payload, and the CRC-32 of everything before (smithy.io, "Amazon Event Stream
//! Specification").

use crate::http::limits::{EVENT_HEADERS_BYTES_MAX, EVENT_MESSAGE_BYTES_MAX, HEADERS_MAX};

/// Both lengths and their checksum.
const PRELUDE_BYTES: usize = 12;
/// Bytes of a message in addition to headers and payload.
const FRAME_BYTES: usize = PRELUDE_BYTES + 4;

/// Why a message is malformed. Nothing after it can be read, because the start of the next message is unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadMessage {
    /// The lengths do not match their checksum.
    PreludeChecksum,
    /// The message does not match its checksum.
    MessageChecksum,
    /// The lengths contradict each other.
    Lengths,
    /// More bytes than [`EVENT_MESSAGE_BYTES_MAX`] or [`EVENT_HEADERS_BYTES_MAX`], or more headers than
    /// [`HEADERS_MAX`].
    TooLarge,
    /// A header that is truncated, unnamed, repeated, of an unknown type or not UTF-8.
    Header,
}

impl BadMessage {
    /// A name for logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::PreludeChecksum => "prelude_checksum",
            Self::MessageChecksum => "message_checksum",
            Self::Lengths => "lengths",
            Self::TooLarge => "too_large",
            Self::Header => "header",
        }
    }
}

/// The value of a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Value<'m> {
    /// Types 0 and 1.
    Bool(bool),
    /// Type 2.
    Byte(i8),
    /// Type 3.
    Short(i16),
    /// Type 4.
    Int(i32),
    /// Type 5.
    Long(i64),
    /// Type 6.
    Bytes(&'m [u8]),
    /// Type 7.
    Text(&'m str),
    /// Type 8: milliseconds since the Unix epoch.
    Timestamp(i64),
    /// Type 9.
    Uuid([u8; 16]),
}

/// A message with valid checksums and headers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Message<'m> {
    headers: &'m [u8],
    /// The payload; Bedrock sends JSON.
    pub payload: &'m [u8],
}

impl<'m> Message<'m> {
    /// The headers in their order.
    pub fn headers(&self) -> impl Iterator<Item = (&'m str, Value<'m>)> + use<'m> {
        let mut rest = self.headers;
        std::iter::from_fn(move || read_header(&mut rest))
    }

    /// The text of the header `name`, e.g. `:message-type`, `:event-type` or `:exception-type`.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&'m str> {
        self.headers().find_map(|(key, value)| match value {
            Value::Text(text) if key == name => Some(text),
            _ => None,
        })
    }
}

/// The first message of `buffer` and its length; `None` if it is not complete yet. The caller removes the message
/// before the next call.
///
/// # Errors
/// [`BadMessage`]; invalid lengths are detected as soon as the prelude has arrived.
pub fn next_message(buffer: &[u8]) -> Result<Option<(Message<'_>, usize)>, BadMessage> {
    let Some((prelude, _)) = buffer.split_first_chunk::<PRELUDE_BYTES>() else {
        return Ok(None);
    };
    let [total, headers_len, checksum] = words(prelude);
    if crc32fast::hash(&prelude[..PRELUDE_BYTES - 4]) != checksum {
        return Err(BadMessage::PreludeChecksum);
    }
    let (total, headers_len) = (total as usize, headers_len as usize);
    if total > EVENT_MESSAGE_BYTES_MAX || headers_len > EVENT_HEADERS_BYTES_MAX {
        return Err(BadMessage::TooLarge);
    }
    if total < FRAME_BYTES + headers_len {
        return Err(BadMessage::Lengths);
    }
    let Some(message) = buffer.get(..total) else {
        return Ok(None);
    };
    let (body, checksum) = message.split_at(total - 4);
    if crc32fast::hash(body).to_be_bytes() != *checksum {
        return Err(BadMessage::MessageChecksum);
    }
    let (headers, payload) = body[PRELUDE_BYTES..].split_at(headers_len);
    check_headers(headers)?;
    Ok(Some((Message { headers, payload }, total)))
}

fn words(prelude: &[u8; PRELUDE_BYTES]) -> [u32; 3] {
    let mut words = [0; 3];
    for (word, bytes) in words.iter_mut().zip(prelude.as_chunks::<4>().0) {
        *word = u32::from_be_bytes(*bytes);
    }
    words
}

/// Checks that each header is complete and that no name is repeated.
fn check_headers(headers: &[u8]) -> Result<(), BadMessage> {
    let mut rest = headers;
    for nth in 0.. {
        if rest.is_empty() {
            break;
        }
        if nth == HEADERS_MAX {
            return Err(BadMessage::TooLarge);
        }
        let (name, _) = read_header(&mut rest).ok_or(BadMessage::Header)?;
        let mut earlier = Message {
            headers,
            payload: &[],
        }
        .headers()
        .take(nth);
        if earlier.any(|(other, _)| other == name) {
            return Err(BadMessage::Header);
        }
    }
    Ok(())
}

fn read_header<'m>(rest: &mut &'m [u8]) -> Option<(&'m str, Value<'m>)> {
    let [name_len] = take(rest)?;
    let name = std::str::from_utf8(take_slice(rest, usize::from(name_len))?).ok()?;
    let [kind] = take(rest)?;
    let value = match kind {
        0 => Value::Bool(true),
        1 => Value::Bool(false),
        2 => Value::Byte(i8::from_be_bytes(take(rest)?)),
        3 => Value::Short(i16::from_be_bytes(take(rest)?)),
        4 => Value::Int(i32::from_be_bytes(take(rest)?)),
        5 => Value::Long(i64::from_be_bytes(take(rest)?)),
        6 => Value::Bytes(take_sized(rest)?),
        7 => Value::Text(std::str::from_utf8(take_sized(rest)?).ok()?),
        8 => Value::Timestamp(i64::from_be_bytes(take(rest)?)),
        9 => Value::Uuid(take(rest)?),
        _ => return None,
    };
    (!name.is_empty()).then_some((name, value))
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (bytes, after) = rest.split_first_chunk::<N>()?;
    *rest = after;
    Some(*bytes)
}

fn take_slice<'m>(rest: &mut &'m [u8], len: usize) -> Option<&'m [u8]> {
    let (bytes, after) = rest.split_at_checked(len)?;
    *rest = after;
    Some(bytes)
}

/// Takes the bytes that follow their length.
fn take_sized<'m>(rest: &mut &'m [u8]) -> Option<&'m [u8]> {
    let len = u16::from_be_bytes(take(rest)?);
    take_slice(rest, usize::from(len))
}

/// Appends a message. Names longer than 255 bytes and values longer than 65,535 bytes are cut.
pub fn write_message(out: &mut Vec<u8>, headers: &[(&str, Value<'_>)], payload: &[u8]) {
    let start = out.len();
    out.extend_from_slice(&[0; PRELUDE_BYTES]);
    for (name, value) in headers {
        let name = &name.as_bytes()[..name.len().min(usize::from(u8::MAX))];
        out.push(name.len() as u8);
        out.extend_from_slice(name);
        write_value(out, value);
    }
    let headers_len = (out.len() - start - PRELUDE_BYTES) as u32;
    out.extend_from_slice(payload);
    let total = (out.len() - start + 4) as u32;
    let mut prelude = [total.to_be_bytes(), headers_len.to_be_bytes(), [0; 4]];
    prelude[2] = crc32fast::hash(prelude[..2].as_flattened()).to_be_bytes();
    out[start..start + PRELUDE_BYTES].copy_from_slice(prelude.as_flattened());
    let checksum = crc32fast::hash(&out[start..]);
    out.extend_from_slice(&checksum.to_be_bytes());
}

fn write_value(out: &mut Vec<u8>, value: &Value<'_>) {
    let mut put = |kind: u8, bytes: &[u8]| {
        out.push(kind);
        out.extend_from_slice(bytes);
    };
    match value {
        Value::Bool(value) => put(u8::from(!value), &[]),
        Value::Byte(value) => put(2, &value.to_be_bytes()),
        Value::Short(value) => put(3, &value.to_be_bytes()),
        Value::Int(value) => put(4, &value.to_be_bytes()),
        Value::Long(value) => put(5, &value.to_be_bytes()),
        Value::Bytes(value) => write_sized(out, 6, value),
        Value::Text(value) => write_sized(out, 7, value.as_bytes()),
        Value::Timestamp(value) => put(8, &value.to_be_bytes()),
        Value::Uuid(value) => put(9, value),
    }
}

fn write_sized(out: &mut Vec<u8>, kind: u8, bytes: &[u8]) {
    let bytes = &bytes[..bytes.len().min(usize::from(u16::MAX))];
    out.push(kind);
    out.extend_from_slice(&(bytes.len() as u16).to_be_bytes());
    out.extend_from_slice(bytes);
}

#[cfg(test)]
#[path = "event_stream_tests.rs"]
mod tests;
