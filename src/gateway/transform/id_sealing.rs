//! Seals the ids of stored responses on their way to the client, and changes nothing else. It must not know the client,
//! nor which provider responds.

use crate::auth::response_ids::ResponseIdSeal;
use crate::gateway::transform::stream_relay::EventTooLarge;
use crate::http::sse::{SseSplitter, data_place, event_data};
use crate::protocols::json::document::Scratch;
use crate::protocols::responses::client::response_ids;
use crate::protocols::responses::client::response_ids::IdPositions;

/// Seals the ids in a response. A body that is not JSON stays as it is.
pub(crate) fn seal_response(seal: &ResponseIdSeal, body: &mut Vec<u8>, scratch: &mut Scratch) {
    let sealed = scratch.with_document(body, |document| {
        let positions = response_ids::find_ids(body, document);
        (!positions.is_empty()).then(|| {
            let mut out = Vec::with_capacity(body.len() + 128);
            append_sealed(seal, body, &positions, Some, &mut out);
            out
        })
    });
    if let Ok(Some(sealed)) = sealed {
        *body = sealed;
    }
}

/// Appends `bytes` with a seal behind each id; `map_offset` maps an offset of the document to one of `bytes`.
fn append_sealed(
    seal: &ResponseIdSeal,
    bytes: &[u8],
    positions: &IdPositions<'_>,
    map_offset: impl Fn(usize) -> Option<usize>,
    out: &mut Vec<u8>,
) {
    let mut from = 0;
    for (end, id) in positions {
        let Some(end) = map_offset(*end).filter(|_| ResponseIdSeal::can_seal(id)) else {
            continue;
        };
        out.extend_from_slice(bytes.get(from..end).unwrap_or_default());
        out.extend_from_slice(&seal.of(id));
        from = end;
    }
    out.extend_from_slice(bytes.get(from..).unwrap_or_default());
}

/// Seals the ids in a stream of events.
pub(crate) struct IdSealer {
    seal: ResponseIdSeal,
    splitter: SseSplitter,
    /// Bytes of an event that is not complete yet.
    pending: Vec<u8>,
}

impl IdSealer {
    #[must_use]
    pub(crate) fn new(seal: ResponseIdSeal) -> Self {
        Self {
            seal,
            splitter: SseSplitter::new(),
            pending: Vec::new(),
        }
    }

    /// Replaces what arrived by what may be sent: every event that is complete, and at the end of the body the rest.
    ///
    /// # Errors
    /// One event exceeds the limit.
    pub(crate) fn feed(
        &mut self,
        arrived: &mut Vec<u8>,
        is_last: bool,
        scratch: &mut Scratch,
    ) -> Result<(), EventTooLarge> {
        let mut pending = std::mem::take(&mut self.pending);
        pending.append(arrived);
        let mut from = 0;
        let outcome = loop {
            let rest = pending.get(from..).unwrap_or_default();
            match self.splitter.next_event(rest) {
                Ok(Some(length)) => {
                    let event = rest.get(..length).unwrap_or_default();
                    self.event(event, arrived, scratch);
                    from += length;
                }
                Ok(None) => break Ok(()),
                Err(_) => break Err(EventTooLarge),
            }
        };
        pending.drain(..from);
        if is_last {
            self.event(&pending, arrived, scratch);
            pending.clear();
        }
        self.pending = pending;
        outcome
    }

    fn event(&self, event: &[u8], out: &mut Vec<u8>, scratch: &mut Scratch) {
        let data = Some(event).filter(|event| response_ids::may_hold(event));
        let Some(data) = data.and_then(event_data) else {
            out.extend_from_slice(event);
            return;
        };
        let map_offset = |offset| data_place(event, offset);
        let sealed = scratch.with_document(&data, |document| {
            let positions = response_ids::in_event(&data, document);
            append_sealed(&self.seal, event, &positions, map_offset, out);
        });
        if sealed.is_err() {
            out.extend_from_slice(event);
        }
    }
}

/// Seals the ids in a complete response. An error may only mention `id`, the response that the request continues or reads.
pub(crate) fn seal_ids(
    seal: &ResponseIdSeal,
    id: Option<&str>,
    status: u16,
    body: &mut Vec<u8>,
    scratch: &mut Scratch,
) {
    if status < 400 {
        return seal_response(seal, body, scratch);
    }
    let Some(id) = id else {
        return;
    };
    // An id inside a longer word is another one.
    let is_outside =
        |byte: Option<&u8>| !byte.is_some_and(|byte| ResponseIdSeal::is_id_byte(*byte));
    let mut out = Vec::with_capacity(body.len() + 128);
    let mut from = 0;
    for start in memchr::memmem::find_iter(body, id.as_bytes()) {
        let end = start + id.len();
        let before = start.checked_sub(1).and_then(|index| body.get(index));
        if is_outside(before) && is_outside(body.get(end)) {
            out.extend_from_slice(body.get(from..end).unwrap_or_default());
            out.extend_from_slice(&seal.of(id));
            from = end;
        }
    }
    out.extend_from_slice(body.get(from..).unwrap_or_default());
    *body = out;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seal() -> ResponseIdSeal {
        ResponseIdSeal::new("sk", "p", "key:a")
    }

    fn mark(text: &str) -> String {
        let mut text = text.to_owned();
        for id in ["resp_0", "resp_1"] {
            let sealed = format!("{id}{}\"", String::from_utf8_lossy(&seal().of(id)));
            text = text.replace(&format!("{id}\""), &sealed);
        }
        text
    }

    #[test]
    fn only_the_ids_are_changed() {
        let response = "{ \"id\" : \"resp_1\",\"x\":[1.50, \"caf\\u00e9 resp_1 \"],\"previous_response_id\":\"resp_0\"}\n";
        let mut body = response.as_bytes().to_vec();
        seal_response(&seal(), &mut body, &mut Scratch::default());
        assert_eq!(String::from_utf8(body).unwrap(), mark(response));
        for other in ["{\"id\":\"a/b\"}", "not JSON", ""] {
            let mut body = other.as_bytes().to_vec();
            seal_response(&seal(), &mut body, &mut Scratch::default());
            assert_eq!(body, other.as_bytes());
        }
    }

    #[test]
    fn streams_are_sealed_at_any_split_and_complete_events_are_sent_at_once() {
        let stream = concat!(
            ": ping\n\n",
            "event: response.created\r\ndata: {\"type\":\"response.created\",\"response\":{\"id\":\"resp_1\",\"previous_response_id\":\"resp_0\"}}\r\n\r\n",
            "data: {\"type\":\"response.output_text.delta\",\"delta\":\"\\\"response\\\" caf\u{e9}\"}\n\n",
            "id: 7\ndata: {\"response\":\ndata: {\"id\":\"resp_1\"\ndata: }}\n\n",
            "data: {\"response\": not JSON \n\n",
            "data: {\"response_id\":\"resp_1\",\"text\":\"resp_1 \"}\n\n",
            "data: {\"response\":{\"id\":\"resp_1\"}}",
        );
        let bytes = stream.as_bytes();
        let whole = mark(stream);
        for split in 0..=bytes.len() {
            let (mut sealer, mut out) = (IdSealer::new(seal()), Vec::new());
            let mut scratch = Scratch::default();
            for (part, is_last) in [(&bytes[..split], false), (&bytes[split..], true)] {
                let mut part = part.to_vec();
                sealer.feed(&mut part, is_last, &mut scratch).unwrap();
                out.append(&mut part);
                let seen = if is_last { bytes } else { &bytes[..split] };
                let ends = seen.windows(2).rposition(|two| two == b"\n\n");
                let upto = mark(&String::from_utf8_lossy(
                    &seen[..ends.map_or(0, |at| at + 2)],
                ));
                assert!(out.starts_with(upto.as_bytes()), "held back at {split}");
            }
            assert_eq!(String::from_utf8(out).unwrap(), whole);
        }
    }

    #[test]
    fn one_event_is_bounded() {
        let mut sealer = IdSealer::new(seal());
        let mut part = vec![b'x'; crate::http::limits::SSE_EVENT_BYTES_MAX + 1];
        let fed = sealer.feed(&mut part, false, &mut Scratch::default());
        assert_eq!(fed, Err(EventTooLarge));
    }
}
