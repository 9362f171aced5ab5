//! Writes the conversation of a `GenerateContentRequest`: system instruction and contents.

use crate::error::gateway_error::GatewayError;
use crate::protocols::gemini::vocabulary::NO_SEAL;
use crate::protocols::json::name_map::NameMap;
use crate::protocols::json::write::{key, open, open_field, raw, text};
use crate::protocols::neutral::request::{Message, Part, Role, Source};
use crate::protocols::neutral::tool_arguments::write_input;
use crate::protocols::neutral::unsupported_fields::UnsupportedFields;

/// Media types by the extension of a URL's path, for sources without a media type (IANA's registry).
const MEDIA_TYPES: [(&str, &str); 9] = [
    (".png", "image/png"),
    (".jpg", "image/jpeg"),
    (".jpeg", "image/jpeg"),
    (".webp", "image/webp"),
    (".gif", "image/gif"),
    (".heic", "image/heic"),
    (".pdf", "application/pdf"),
    (".txt", "text/plain"),
    (".mp4", "video/mp4"),
];

/// Appends `systemInstruction` and `contents`.
///
/// # Errors
/// 400 that names a part that this API does not support.
pub(crate) fn write(
    messages: &[Message<'_>],
    demands_seals: bool,
    unsupported: &mut UnsupportedFields,
    out: &mut Vec<u8>,
) -> Result<(), GatewayError> {
    let leading = messages
        .iter()
        .take_while(|message| is_system(message.role))
        .count();
    let (system, rest) = messages
        .split_at_checked(leading)
        .unwrap_or((&[], messages));
    let mut writer = Writer {
        all: messages,
        tools: None,
        demands_seals,
        unsupported,
    };
    writer.system(system, out)?;
    writer.contents(rest, out)
}

fn is_system(role: Role) -> bool {
    matches!(role, Role::System | Role::Developer)
}

struct Writer<'w, 'a> {
    /// All messages, to find the tool's name of a result by the id of its call.
    all: &'w [Message<'a>],
    /// The names of tools by the ids of their calls, from the first result on.
    tools: Option<NameMap<&'a str, &'a str>>,
    demands_seals: bool,
    unsupported: &'w mut UnsupportedFields,
}

impl Writer<'_, '_> {
    fn system(&mut self, system: &[Message<'_>], out: &mut Vec<u8>) -> Result<(), GatewayError> {
        let mark = out.len();
        open_field(out, "systemInstruction", b'{');
        open_field(out, "parts", b'[');
        let empty = out.len();
        for message in system {
            for part in &message.parts {
                self.part(part, message.at, None, out)?;
            }
        }
        if out.len() == empty {
            out.truncate(mark);
        } else {
            out.extend_from_slice(b"]}");
        }
        Ok(())
    }

    /// Adjacent messages of one role become one turn, and empty turns are left out.
    fn contents(
        &mut self,
        messages: &[Message<'_>],
        out: &mut Vec<u8>,
    ) -> Result<(), GatewayError> {
        open_field(out, "contents", b'[');
        let mut before = None;
        for message in messages {
            if is_system(message.role) {
                // The API has no such role within a conversation; if it is dropped, the text stays.
                self.unsupported
                    .reject_or_drop(&format!("messages[{}].role", message.at))?;
            }
            let role = match message.role {
                Role::Assistant => "model",
                _ => "user",
            };
            let continues = before == Some(role);
            let mark = out.len();
            if continues {
                out.truncate(mark - 2);
            } else {
                open(out, b'{');
                text(out, "role", role);
                open_field(out, "parts", b'[');
            }
            let empty = out.len();
            self.turn(message, out)?;
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

    /// Appends the parts of one message. A signature is attached to the call after it, or to the text after it if no
    /// call follows, or else to a part of its own, as the model returned it.
    fn turn(&mut self, message: &Message<'_>, out: &mut Vec<u8>) -> Result<(), GatewayError> {
        let is_call = |part: &Part<'_>| matches!(part, Part::ToolCall { .. });
        let calls = message.parts.iter().filter(|part| is_call(part)).count();
        let (mut seal, mut calls_seen) = (None, 0);
        for part in &message.parts {
            let takes_seal = match part {
                Part::Thinking {
                    text: thought,
                    signature: Some(signature),
                } => {
                    write_lone_seal(seal.replace(*signature), out);
                    write_thought(thought, out);
                    continue;
                }
                Part::Text { text, .. } => !text.is_empty() && calls_seen == calls,
                Part::ToolCall { .. } => {
                    calls_seen += 1;
                    // Of several parallel calls only the first has the signature.
                    if self.demands_seals && calls_seen == 1 && seal.is_none() {
                        seal = Some(NO_SEAL);
                    }
                    true
                }
                _ => false,
            };
            let own = if takes_seal { seal.take() } else { None };
            self.part(part, message.at, own, out)?;
        }
        write_lone_seal(seal, out);
        Ok(())
    }

    fn part(
        &mut self,
        part: &Part<'_>,
        at: usize,
        seal: Option<&str>,
        out: &mut Vec<u8>,
    ) -> Result<(), GatewayError> {
        let mut marker = None;
        match part {
            // An empty text has no content, and some models reject it.
            Part::Text { text: "", .. } => return Ok(()),
            Part::Text {
                text: words, cache, ..
            } => {
                open(out, b'{');
                text(out, "text", words);
                marker = *cache;
            }
            Part::Image { .. } | Part::Document { .. } => return self.file(part, at, out),
            Part::Audio { data, format } => {
                open(out, b'{');
                write_inline(&format!("audio/{format}"), data, out);
            }
            Part::ToolCall {
                id,
                name,
                arguments,
                cache,
            } => {
                open(out, b'{');
                open_field(out, "functionCall", b'{');
                if !id.is_empty() {
                    text(out, "id", id);
                }
                text(out, "name", name);
                key(out, "args");
                write_input(arguments, out);
                out.push(b'}');
                marker = *cache;
            }
            Part::ToolResult { .. } => return self.result(part, at, out),
            // Every provider rejects a thought without its signature, and cannot read another provider's signature.
            Part::Thinking { .. } | Part::Redacted { .. } => {
                self.unsupported.note_dropped("thinking");
                return Ok(());
            }
        }
        if let Some(seal) = seal {
            text(out, "thoughtSignature", seal);
        }
        self.unsupported.note_cache_marker(marker);
        out.push(b'}');
        Ok(())
    }

    /// Appends an image or a document.
    fn file(&mut self, part: &Part<'_>, at: usize, out: &mut Vec<u8>) -> Result<(), GatewayError> {
        let (source, field, cache) = match part {
            Part::Image {
                source,
                detail,
                cache,
            } => {
                if detail.is_some_and(|detail| detail != "auto") {
                    self.unsupported.note_dropped("detail");
                }
                (source, "image_url", cache)
            }
            Part::Document {
                source,
                title,
                cache,
            } => {
                if title.is_some() {
                    self.unsupported.note_dropped("title");
                }
                (source, "file", cache)
            }
            _ => return Ok(()),
        };
        self.unsupported.note_cache_marker(*cache);
        match source {
            Source::Base64 { media_type, data } => {
                open(out, b'{');
                write_inline(media_type, data, out);
            }
            Source::Text(words) => {
                open(out, b'{');
                text(out, "text", words);
            }
            // Files uploaded to Google have URIs; other files belong to other providers.
            Source::File(uri) if !uri.contains("://") => {
                return self
                    .unsupported
                    .reject_or_drop(&format!("messages[{at}].content.{field}"));
            }
            Source::Url(uri) | Source::File(uri) => {
                open(out, b'{');
                open_field(out, "fileData", b'{');
                if let Some(media_type) = media_type(uri) {
                    text(out, "mimeType", media_type);
                }
                text(out, "fileUri", uri);
                out.push(b'}');
            }
        }
        out.push(b'}');
        Ok(())
    }

    /// Appends a tool's result: its text under `output` or `error`, everything else as parts.
    fn result(
        &mut self,
        part: &Part<'_>,
        at: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), GatewayError> {
        let Part::ToolResult {
            id,
            is_error,
            parts,
            cache,
        } = part
        else {
            return Ok(());
        };
        let tools = self.tools.get_or_insert_with(|| tools_by_call(self.all));
        let Some(tool) = tools.get(id).copied() else {
            return self
                .unsupported
                .reject_or_drop(&format!("messages[{at}].tool_call_id"));
        };
        self.unsupported.note_cache_marker(*cache);
        open(out, b'{');
        open_field(out, "functionResponse", b'{');
        if !id.is_empty() {
            text(out, "id", id);
        }
        text(out, "name", repeated_name(tool));
        open_field(out, "response", b'{');
        key(out, if *is_error { "error" } else { "output" });
        out.push(b'"');
        let is_text = |part: &&Part<'_>| matches!(part, Part::Text { .. });
        for part in parts.iter().filter(is_text) {
            if let Part::Text { text, .. } = part {
                crate::protocols::json::document::write_escaped(out, text);
            }
        }
        out.extend_from_slice(b"\"}");
        if parts.iter().any(|part| !is_text(&part)) {
            open_field(out, "parts", b'[');
            for part in parts.iter().filter(|part| !is_text(part)) {
                self.part(part, at, None, out)?;
            }
            out.push(b']');
        }
        out.extend_from_slice(b"}}");
        Ok(())
    }
}

/// Longest name of a tool that is repeated in its results, in bytes. The API allows 128 characters.
const REPEATED_NAME_BYTES_MAX: usize = 512;

/// A tool's name for one of its results. A longer name, which the API refuses anyway, is cut: a request that gives it
/// once and has many results would grow with the square of its size.
fn repeated_name(name: &str) -> &str {
    let end = name.floor_char_boundary(REPEATED_NAME_BYTES_MAX);
    name.get(..end).unwrap_or_default()
}

/// The tools' names by the ids of their calls. If calls share an id, the last one counts.
fn tools_by_call<'a>(messages: &[Message<'a>]) -> NameMap<&'a str, &'a str> {
    let mut tools = NameMap::default();
    for part in messages.iter().flat_map(|message| &message.parts) {
        if let Part::ToolCall { id, name, .. } = part {
            tools.insert(*id, *name);
        }
    }
    tools
}

fn write_thought(thought: &str, out: &mut Vec<u8>) {
    if !thought.is_empty() {
        open(out, b'{');
        text(out, "text", thought);
        raw(out, "thought", "true");
        out.push(b'}');
    }
}

fn write_lone_seal(seal: Option<&str>, out: &mut Vec<u8>) {
    if let Some(seal) = seal {
        open(out, b'{');
        text(out, "text", "");
        text(out, "thoughtSignature", seal);
        out.push(b'}');
    }
}

/// Appends the members of a part that holds bytes.
fn write_inline(media_type: &str, data: &str, out: &mut Vec<u8>) {
    open_field(out, "inlineData", b'{');
    text(out, "mimeType", media_type);
    text(out, "data", data);
    out.push(b'}');
}

fn media_type(uri: &str) -> Option<&'static str> {
    let path = uri
        .split(['?', '#'])
        .next()
        .unwrap_or(uri)
        .to_ascii_lowercase();
    let mut known = MEDIA_TYPES.iter();
    known
        .find(|(end, _)| path.ends_with(end))
        .map(|(_, media_type)| *media_type)
}
