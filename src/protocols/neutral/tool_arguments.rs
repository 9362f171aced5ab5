//! Arguments of tool calls for wire formats that send them as a JSON object, where OpenAI's sends a string.

use crate::protocols::json::write::text;

/// The key under which invalid arguments are wrapped, as Anthropic advises (its documentation of fine-grained tool
/// streaming).
pub(crate) const INVALID_JSON: &str = "INVALID_JSON";

/// Appends a tool's arguments as an object; invalid arguments are wrapped in one.
pub(crate) fn write_input(arguments: &str, out: &mut Vec<u8>) {
    if is_object(arguments) {
        out.extend_from_slice(arguments.trim().as_bytes());
    } else {
        out.push(b'{');
        text(out, INVALID_JSON, arguments);
        out.push(b'}');
    }
}

/// Whether `json` is a single JSON object.
#[must_use]
pub(crate) fn is_object(json: &str) -> bool {
    json.trim_start().starts_with('{')
        && serde_json::from_str::<serde::de::IgnoredAny>(json).is_ok()
}
