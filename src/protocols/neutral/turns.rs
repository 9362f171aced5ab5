//! Conversations in wire formats that require alternating roles. It must not know how a part is written.

use crate::error::gateway_error::GatewayError;
use crate::protocols::json::write::{open, open_field, text};
use crate::protocols::neutral::request::{Message, Part, Role};

/// Appends the field `messages`: adjacent messages of one role become one turn, and empty turns are left out.
/// `write_part` receives the index of the part's message in the request.
///
/// # Errors
/// The errors of `write_part`.
pub(crate) fn write_turns(
    messages: &[Message<'_>],
    out: &mut Vec<u8>,
    mut write_part: impl FnMut(&Part<'_>, usize, &mut Vec<u8>) -> Result<(), GatewayError>,
) -> Result<(), GatewayError> {
    open_field(out, "messages", b'[');
    let mut before = None;
    for message in messages {
        let role = match message.role {
            Role::User => "user",
            Role::Assistant => "assistant",
            Role::System | Role::Developer => "system",
        };
        let continues = before == Some(role);
        let mark = out.len();
        if continues {
            // Continues the previous turn: its content array and its object are opened again.
            out.truncate(mark - 2);
        } else {
            open(out, b'{');
            text(out, "role", role);
            open_field(out, "content", b'[');
        }
        let empty = out.len();
        for part in &message.parts {
            write_part(part, message.at, out)?;
        }
        if out.len() == empty && !continues {
            out.truncate(mark);
            continue;
        }
        out.extend_from_slice(b"]}");
        before = Some(role);
    }
    out.push(b']');
    Ok(())
}
