//! Server-sent events: finds the end of an event, reads its data, and writes events (WHATWG HTML, 9.2).

use crate::http::limits::SSE_EVENT_BYTES_MAX;
use std::borrow::Cow;

/// Finds the ends of events in a growing buffer.
#[derive(Debug, Default)]
pub struct SseSplitter {
    /// Bytes of the buffer that were already searched.
    scanned: usize,
    /// The start of the line that contains the byte at `scanned`.
    line_start: usize,
}

/// An event exceeds [`SSE_EVENT_BYTES_MAX`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EventTooLong;

impl SseSplitter {
    /// A splitter at the start of an event.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The length of the first complete event of `buffer`, including its blank line. The caller removes the event
    /// before the next call; until then `buffer` may only grow.
    ///
    /// Lines end in LF, CR LF or CR. A CR at the end of the buffer may belong to a CR LF, so the next byte decides.
    ///
    /// # Errors
    /// [`EventTooLong`].
    pub fn next_event(&mut self, buffer: &[u8]) -> Result<Option<usize>, EventTooLong> {
        loop {
            let rest = buffer.get(self.scanned..).unwrap_or_default();
            let Some(found) = memchr::memchr2(b'\n', b'\r', rest) else {
                self.scanned = buffer.len();
                break;
            };
            let at = self.scanned + found;
            let after = match (buffer.get(at), buffer.get(at + 1)) {
                (Some(b'\r'), None) => {
                    self.scanned = at;
                    break;
                }
                (Some(b'\r'), Some(b'\n')) => at + 2,
                _ => at + 1,
            };
            let is_blank = at == self.line_start;
            self.scanned = after;
            self.line_start = after;
            if is_blank {
                *self = Self::default();
                return Ok(Some(after));
            }
        }
        if buffer.len() > SSE_EVENT_BYTES_MAX {
            return Err(EventTooLong);
        }
        Ok(None)
    }
}

/// The joined `data` lines of an event; `None` if it has none (a comment, a ping).
#[must_use]
pub fn event_data(event: &[u8]) -> Option<Cow<'_, [u8]>> {
    let mut data: Option<Cow<'_, [u8]>> = None;
    for value in fields(event, b"data") {
        data = Some(match data {
            None => Cow::Borrowed(value),
            Some(before) => {
                let mut joined = before.into_owned();
                joined.push(b'\n');
                joined.extend_from_slice(value);
                Cow::Owned(joined)
            }
        });
    }
    data
}

/// The offset in the event of the byte at `at` in the data that [`event_data`] joined.
#[must_use]
pub fn data_place(event: &[u8], at: usize) -> Option<usize> {
    let mut before = 0;
    for value in fields(event, b"data") {
        if let Some(within) = at
            .checked_sub(before)
            .filter(|within| *within <= value.len())
        {
            let start = (value.as_ptr() as usize).checked_sub(event.as_ptr() as usize)?;
            return Some(start + within);
        }
        before += value.len() + "\n".len();
    }
    None
}

/// The event's name; `None` if it has none.
#[must_use]
pub fn event_name(event: &[u8]) -> Option<&[u8]> {
    fields(event, b"event").last()
}

/// Values of the field `name`.
fn fields<'e>(event: &'e [u8], name: &'static [u8]) -> impl Iterator<Item = &'e [u8]> {
    const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
    let event = event.strip_prefix(BYTE_ORDER_MARK).unwrap_or(event);
    lines(event).filter_map(move |line| {
        let value = line.strip_prefix(name)?;
        match value.strip_prefix(b":") {
            Some(value) => Some(value.strip_prefix(b" ").unwrap_or(value)),
            // A line without a colon is the field with an empty value.
            None => value.is_empty().then_some(value),
        }
    })
}

/// The lines of an event without their ends. The LF of a CR LF yields an empty line, which has no meaning.
fn lines(event: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut from = 0;
    let ends = memchr::memchr2_iter(b'\n', b'\r', event).chain(std::iter::once(event.len()));
    ends.map(move |end| {
        let line = event.get(from..end).unwrap_or_default();
        from = end + 1;
        line
    })
}

/// Appends an event with one data line. `data` must not contain line ends; JSON does not.
pub fn write_event(out: &mut Vec<u8>, data: &[u8]) {
    out.extend_from_slice(b"data: ");
    out.extend_from_slice(data);
    out.extend_from_slice(b"\n\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(pieces: &[&[u8]]) -> Vec<Vec<u8>> {
        let (mut splitter, mut buffer, mut events) = (SseSplitter::new(), Vec::new(), Vec::new());
        for piece in pieces {
            buffer.extend_from_slice(piece);
            while let Some(length) = splitter.next_event(&buffer).unwrap() {
                events.push(buffer.drain(..length).collect());
            }
        }
        events
    }

    #[test]
    fn any_split_gives_the_same_events() {
        let stream =
            "data: a\n\ndata: é\r\ndata: b\r\n\r\n: ping\n\nevent: x\rdata:c\r\rdata: d\n\n";
        let whole = split(&[stream.as_bytes()]);
        assert_eq!(whole.len(), 5);
        for at in 0..=stream.len() {
            let (a, b) = stream.as_bytes().split_at(at);
            assert_eq!(split(&[a, b]), whole, "split {at}");
        }
        let bytes: Vec<&[u8]> = stream.as_bytes().chunks(1).collect();
        assert_eq!(split(&bytes), whole);
        let data: Vec<_> = whole
            .iter()
            .map(|event| event_data(event).map(Cow::into_owned))
            .collect();
        let text = |text: &str| Some(text.as_bytes().to_vec());
        assert_eq!(data, [text("a"), text("é\nb"), None, text("c"), text("d")]);
        assert_eq!(event_name(&whole[3]), Some(&b"x"[..]));
    }

    #[test]
    fn an_event_without_end_is_bounded() {
        let mut splitter = SseSplitter::new();
        let buffer = vec![b'x'; SSE_EVENT_BYTES_MAX + 1];
        assert_eq!(splitter.next_event(&buffer), Err(EventTooLong));
    }

    #[test]
    fn written_events_read_back() {
        let mut out = Vec::new();
        write_event(&mut out, b"{\"a\":1}");
        assert_eq!(split(&[&out]), [out.clone()]);
        assert_eq!(event_data(&out).as_deref(), Some(&b"{\"a\":1}"[..]));
    }
}
