//! The field `tool_calls` in OpenAI's form, which Cohere's API accepts too.

use crate::protocols::json::write::{open, open_field, text};
use crate::protocols::neutral::request::Part;
use crate::protocols::neutral::unsupported_fields::UnsupportedFields;

/// Appends the field `tool_calls` of an assistant message.
pub(crate) fn write_calls(
    parts: &[Part<'_>],
    unsupported: &mut UnsupportedFields,
    out: &mut Vec<u8>,
) {
    open_field(out, "tool_calls", b'[');
    for part in parts {
        let Part::ToolCall {
            id,
            name,
            arguments,
            cache,
        } = part
        else {
            continue;
        };
        unsupported.note_cache_marker(*cache);
        open(out, b'{');
        text(out, "id", id);
        text(out, "type", "function");
        open_field(out, "function", b'{');
        text(out, "name", name);
        text(out, "arguments", arguments);
        out.extend_from_slice(b"}}");
    }
    out.push(b']');
}
