//! Errors in a stream of Responses. Outside a stream they have OpenAI's envelope.

use crate::protocols::json::write::{raw, text};

/// Appends the event `error`, which ends a stream that broke. OpenAI's SDKs raise an error only for one that
/// has the field `error`, which `envelope` brings.
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
