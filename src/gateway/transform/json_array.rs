//! Writes a stream as one JSON array whose elements are its events: the response of Google's API to
//! `streamGenerateContent` without `alt=sse`. It must not know what the events mean.

use crate::http::sse::{SseSplitter, event_data};

/// How much of the array was written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct JsonArray {
    has_begun: bool,
    has_ended: bool,
}

impl JsonArray {
    /// Its content type, as Google gives it.
    pub const TYPE: &'static [u8] = b"application/json; charset=UTF-8";

    /// Replaces the complete events that `out` holds from `from` on by elements. Events without data are left out.
    pub fn rewrite(&mut self, out: &mut Vec<u8>, from: usize) {
        let events = out.split_off(from.min(out.len()));
        let mut splitter = SseSplitter::new();
        let mut rest = events.as_slice();
        while !rest.is_empty() {
            // Events are complete here: a rest without its blank line is one event too.
            let length = splitter.next_event(rest).ok().flatten();
            let (event, next) = rest.split_at(length.unwrap_or(rest.len()));
            if let Some(data) = event_data(event) {
                self.element(&data, out);
            }
            rest = next;
        }
    }

    fn element(&mut self, json: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(if self.has_begun { b",\r\n" } else { b"[" });
        self.has_begun = true;
        out.extend_from_slice(json);
        out.push(b'\n');
    }

    /// Appends its end, once.
    pub fn end(&mut self, out: &mut Vec<u8>) {
        if std::mem::replace(&mut self.has_ended, true) {
            return;
        }
        out.extend_from_slice(if self.has_begun { b"]" } else { b"[]" });
    }

    /// The array of a complete stream.
    #[must_use]
    pub fn of_events(mut events: Vec<u8>) -> Vec<u8> {
        let mut array = Self::default();
        array.rewrite(&mut events, 0);
        array.end(&mut events);
        events
    }

    /// The array whose only element is a response or an error.
    #[must_use]
    pub fn of_one(json: &[u8]) -> Vec<u8> {
        let json = json.trim_ascii();
        if json.first() == Some(&b'[') {
            return json.to_vec();
        }
        [b"[", json, b"\n]"].concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_elements_as_they_come() {
        let (mut array, mut out) = (JsonArray::default(), b"before".to_vec());
        let mut grown = Vec::new();
        for events in [
            ": a comment\n\ndata: {\"a\":1}\r\n\r\n",
            "",
            "event: x\ndata: {\"b\":\ndata: \"\\n\"}\n\ndata: {}\n\n",
            "data: {\"last\":true}\r\r",
        ] {
            let from = out.len();
            out.extend_from_slice(events.as_bytes());
            array.rewrite(&mut out, from);
            grown.push(String::from_utf8_lossy(&out[from..]).into_owned());
        }
        assert_eq!(grown[0], "[{\"a\":1}\n");
        assert_eq!(grown[1], "");
        assert_eq!(grown[2], ",\r\n{\"b\":\n\"\\n\"}\n,\r\n{}\n");
        for _ in 0..2 {
            array.end(&mut out);
        }
        let value: serde_json::Value = serde_json::from_slice(&out["before".len()..]).unwrap();
        assert_eq!(value.as_array().unwrap().len(), 4);
    }

    #[test]
    fn a_response_is_one_element_and_an_empty_stream_is_an_empty_array() {
        assert_eq!(JsonArray::of_one(b" {\"a\":1}\n"), b"[{\"a\":1}\n]");
        assert_eq!(JsonArray::of_one(b"[{\"a\":1}]"), b"[{\"a\":1}]");
        assert_eq!(JsonArray::of_events(Vec::new()), b"[]");
    }
}
