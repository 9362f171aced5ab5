//! Arguments of tool calls for wire formats that take them as a JSON object, where OpenAI's takes a string.

use crate::protocols::json::write::text;

/// Key of what a model wrote where a JSON object was due: as Anthropic advises to wrap such arguments
/// (its documentation of fine-grained tool streaming).
pub(crate) const INVALID_JSON: &str = "INVALID_JSON";

/// Appends a tool's arguments as an object; what is none is wrapped in one.
pub(crate) fn write_input(arguments: &str, out: &mut Vec<u8>) {
    if is_object(arguments) {
        out.extend_from_slice(arguments.trim().as_bytes());
    } else {
        out.push(b'{');
        text(out, INVALID_JSON, arguments);
        out.push(b'}');
    }
}

/// Whether `json` is one JSON object.
#[must_use]
pub(crate) fn is_object(json: &str) -> bool {
    json.trim_start().starts_with('{')
        && serde_json::from_str::<serde::de::IgnoredAny>(json).is_ok()
}
