//! Finds the response ids in a provider's Responses body or event. It must not know how they are used.

use crate::protocols::json::document::Document;
use arrayvec::ArrayVec;
use memchr::memmem::Finder;
use std::sync::LazyLock;

/// Most ids in one response or event.
const POSITIONS_MAX: usize = 3;

/// Each id, and its end in the JSON: before the closing quote.
pub(crate) type IdPositions<'d> = ArrayVec<(usize, &'d str), POSITIONS_MAX>;

/// Keys of the objects that hold an id in an event. JSON escapes quotes inside strings, so these bytes are keys or
/// whole strings.
static MARKS: LazyLock<[Finder<'static>; 2]> =
    LazyLock::new(|| [Finder::new("\"response\""), Finder::new("\"response_id\"")]);

/// Whether an event can contain an id. Text deltas cannot.
#[must_use]
pub(crate) fn may_hold(event: &[u8]) -> bool {
    MARKS.iter().any(|mark| mark.find(event).is_some())
}

/// The ids in a whole response: its own, and the id of the response that it continues.
#[must_use]
pub(crate) fn find_ids<'d>(json: &[u8], document: &Document<'d>) -> IdPositions<'d> {
    let mut positions = IdPositions::new();
    collect(
        json,
        document,
        0,
        &["id", "previous_response_id"],
        &mut positions,
    );
    positions
}

/// The ids in the data of an event.
#[must_use]
pub(crate) fn in_event<'d>(json: &[u8], document: &Document<'d>) -> IdPositions<'d> {
    let mut positions = IdPositions::new();
    if let Some(at) = document.field(0, "response") {
        collect(
            json,
            document,
            at,
            &["id", "previous_response_id"],
            &mut positions,
        );
    }
    collect(json, document, 0, &["response_id"], &mut positions);
    positions
}

/// Adds the ids of the object at `at` in the order of the text. An id with escapes is ignored.
fn collect<'d>(
    json: &[u8],
    document: &Document<'d>,
    at: usize,
    names: &[&str],
    positions: &mut IdPositions<'d>,
) {
    for name in names {
        let Some(id) = document.text_of(at, name) else {
            continue;
        };
        let Some(start) = document.offset_of(id) else {
            continue;
        };
        let end = start + id.len();
        let is_plain = json.get(start..end) == Some(id.as_bytes()) && json.get(end) == Some(&b'"');
        if is_plain {
            let _ = positions.try_push((end, id));
        }
    }
    positions.sort_unstable_by_key(|(end, _)| *end);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocols::json::document::Scratch;

    fn found(json: &str, is_event: bool) -> Vec<String> {
        let read = |document: &Document<'_>| {
            let positions = match is_event {
                true => in_event(json.as_bytes(), document),
                false => find_ids(json.as_bytes(), document),
            };
            let upto = |(end, id): &(usize, &str)| {
                assert_eq!(&json[end - id.len()..*end], *id);
                (*id).to_owned()
            };
            positions.iter().map(upto).collect()
        };
        let mut scratch = Scratch::default();
        scratch.with_document(json.as_bytes(), read).unwrap()
    }

    #[test]
    fn only_ids_of_responses_are_found() {
        let response = r#"{"previous_response_id" : "resp_0","metadata":{"id":"resp_1"},"output":[{"id":"msg_1"}],"id":"resp_1"}"#;
        assert_eq!(found(response, false), ["resp_0", "resp_1"]);
        assert_eq!(
            found(r#"{"id":null,"previous_response_id":null}"#, false).len(),
            0
        );
        assert_eq!(found(r#"{"id":"r\u0065sp_1"}"#, false).len(), 0);
        assert_eq!(found(r#"[{"id":"resp_1"}]"#, false).len(), 0);
        let event = r#"{"response_id":"resp_1","id":"x","response":{"id":"resp_1","previous_response_id":"resp_0"}}"#;
        assert_eq!(found(event, true), ["resp_1", "resp_1", "resp_0"]);
        assert!(may_hold(event.as_bytes()));
        assert!(!may_hold(
            br#"{"type":"response.output_text.delta","delta":"\"response\""}"#
        ));
    }
}
