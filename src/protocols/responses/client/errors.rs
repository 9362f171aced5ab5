//! Errors in a stream of Responses. Outside a stream they are OpenAI error bodies.

use crate::protocols::json::write::{raw, text};

/// Appends the event `error`, which ends an interrupted stream. OpenAI's SDKs raise an exception only if the event
/// has the field `error`, which `envelope` contains.
pub(crate) fn write_error_event(code: &str, message: &str, envelope: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(b"event: error\ndata: {\"type\":\"error\"");
    text(out, "code", code);
    text(out, "message", message);
    raw(out, "param", "null");
    raw(out, "sequence_number", "0");
    let inner = envelope
        .strip_prefix("{\"error\":")
        .and_then(|rest| rest.strip_suffix('}'));
    raw(out, "error", inner.unwrap_or("{}"));
    out.extend_from_slice(b"}\n\n");
}
