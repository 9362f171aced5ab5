//! Messages of a Converse request: turns, their blocks, files and cache points.

use crate::error::gateway_error::GatewayError;
use crate::protocols::json::write::{key, open, open_field, raw, text};
use crate::protocols::neutral::request::{Message, Part, Source};
use crate::protocols::neutral::tool_arguments::write_input;
use crate::protocols::neutral::turns::write_turns;
use crate::protocols::neutral::unsupported_fields::UnsupportedFields;
use serde::Deserialize;

/// Longest id of a call, in bytes (`ToolUseId`).
const CALL_ID_BYTES_MAX: usize = 64;

/// Longest name of a document, in bytes (`DocumentBlockNameString`).
const NAME_BYTES_MAX: usize = 200;

/// Formats of images by media type (`ImageFormat`).
const IMAGES: [(&str, &str); 5] = [
    ("image/png", "png"),
    ("image/jpeg", "jpeg"),
    ("image/jpg", "jpeg"),
    ("image/gif", "gif"),
    ("image/webp", "webp"),
];

/// Formats of documents by media type (`DocumentFormat`).
const DOCUMENTS: [(&str, &str); 9] = [
    ("application/pdf", "pdf"),
    ("text/csv", "csv"),
    ("application/msword", "doc"),
    (
        "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
        "docx",
    ),
    ("application/vnd.ms-excel", "xls"),
    (
        "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
        "xlsx",
    ),
    ("text/html", "html"),
    ("text/plain", "txt"),
    ("text/markdown", "md"),
];

/// Formats of sound that both sides name alike (`AudioFormat`).
const SOUNDS: [&str; 6] = ["wav", "mp3", "flac", "opus", "ogg", "m4a"];

/// Writes the blocks of one request.
#[derive(Default)]
pub(crate) struct Writer {
    /// Names of documents, of which no two may be the same.
    names: Vec<String>,
}

impl Writer {
    /// The system prompt: what comes before the conversation.
    ///
    /// # Errors
    /// 400 naming a part that is lost.
    pub(crate) fn system(
        &mut self,
        system: &[Message<'_>],
        unsupported: &mut UnsupportedFields,
        out: &mut Vec<u8>,
    ) -> Result<(), GatewayError> {
        let mark = out.len();
        open_field(out, "system", b'[');
        let empty = out.len();
        for message in system {
            for part in &message.parts {
                match part {
                    Part::Text { .. } => self.block(part, message.at, unsupported, out)?,
                    _ => {
                        unsupported.reject_or_drop(&format!("messages[{}].content", message.at))?
                    }
                }
            }
        }
        if out.len() == empty {
            out.truncate(mark);
        } else {
            out.push(b']');
        }
        Ok(())
    }

    /// The conversation: neighbours of one role become one turn, and turns that say nothing are left out,
    /// for this dialect's roles alternate and its texts are not empty.
    ///
    /// # Errors
    /// 400 naming a part that is lost.
    pub(crate) fn messages(
        &mut self,
        messages: &[Message<'_>],
        unsupported: &mut UnsupportedFields,
        out: &mut Vec<u8>,
    ) -> Result<(), GatewayError> {
        write_turns(messages, out, |part, at, out| {
            self.block(part, at, unsupported, out)
        })
    }

    fn block(
        &mut self,
        part: &Part<'_>,
        at: usize,
        unsupported: &mut UnsupportedFields,
        out: &mut Vec<u8>,
    ) -> Result<(), GatewayError> {
        let marker = match part {
            Part::Text { text: "", .. } => return Ok(()),
            Part::Text {
                text: words, cache, ..
            } => {
                open(out, b'{');
                text(out, "text", words);
                *cache
            }
            Part::Image { cache, .. } | Part::Document { cache, .. } => {
                if !self.file(part, at, unsupported, out)? {
                    return Ok(());
                }
                *cache
            }
            Part::Audio { data, format } => {
                if !SOUNDS.contains(format) {
                    return unsupported
                        .reject_or_drop(&format!("messages[{at}].content.input_audio"));
                }
                write_bytes("audio", format, data, out);
                None
            }
            Part::ToolCall {
                id,
                name,
                arguments,
                cache,
            } => {
                open(out, b'{');
                open_field(out, "toolUse", b'{');
                write_call_id(id, out);
                text(out, "name", name);
                key(out, "input");
                write_input(arguments, out);
                out.push(b'}');
                *cache
            }
            Part::ToolResult { cache, .. } => {
                self.result(part, at, unsupported, out)?;
                *cache
            }
            Part::Thinking { .. } | Part::Redacted { .. } => {
                write_thought(part, unsupported, out);
                return Ok(());
            }
        };
        out.push(b'}');
        write_cache_point(marker, out);
        Ok(())
    }

    /// A tool's result, its object left open.
    fn result(
        &mut self,
        part: &Part<'_>,
        at: usize,
        unsupported: &mut UnsupportedFields,
        out: &mut Vec<u8>,
    ) -> Result<(), GatewayError> {
        let Part::ToolResult {
            id,
            is_error,
            parts,
            ..
        } = part
        else {
            return Ok(());
        };
        open(out, b'{');
        open_field(out, "toolResult", b'{');
        write_call_id(id, out);
        open_field(out, "content", b'[');
        for part in parts {
            self.block(part, at, unsupported, out)?;
        }
        out.push(b']');
        if *is_error {
            text(out, "status", "error");
        }
        out.push(b'}');
        Ok(())
    }

    /// An image or a document, its object left open; false if it was dropped.
    fn file(
        &mut self,
        part: &Part<'_>,
        at: usize,
        unsupported: &mut UnsupportedFields,
        out: &mut Vec<u8>,
    ) -> Result<bool, GatewayError> {
        let (kind, field, source, formats) = match part {
            Part::Image { source, detail, .. } => {
                if detail.is_some_and(|detail| detail != "auto") {
                    unsupported.note_dropped("detail");
                }
                ("image", "image_url", source, &IMAGES[..])
            }
            Part::Document { source, .. } => ("document", "file", source, &DOCUMENTS[..]),
            _ => return Ok(false),
        };
        let format_of = |media_type: &str| {
            let found = formats.iter().find(|(name, _)| *name == media_type);
            found.map(|(_, format)| *format)
        };
        let format = match source {
            Source::Base64 { media_type, .. } => format_of(media_type),
            Source::Text(_) if kind == "document" => Some("txt"),
            // It fetches nothing but from its own store, and keeps no files; the name's end says the format.
            Source::Url(url) if url.starts_with("s3://") => {
                let end = url.rsplit('.').next().unwrap_or_default();
                let end = if end == "jpg" { "jpeg" } else { end };
                let mut known = formats.iter().map(|(_, format)| *format);
                known.find(|format| *format == end)
            }
            _ => None,
        };
        let Some(format) = format else {
            unsupported.reject_or_drop(&format!("messages[{at}].content.{field}"))?;
            return Ok(false);
        };
        open(out, b'{');
        open_field(out, kind, b'{');
        text(out, "format", format);
        if let Part::Document { title, .. } = part {
            text(out, "name", &self.name(*title));
        }
        open_field(out, "source", b'{');
        match source {
            Source::Base64 { data, .. } => text(out, "bytes", data),
            Source::Text(words) => text(out, "text", words),
            Source::Url(url) | Source::File(url) => {
                open_field(out, "s3Location", b'{');
                text(out, "uri", url);
                out.push(b'}');
            }
        }
        out.extend_from_slice(b"}}");
        Ok(true)
    }

    /// A document's name: letters, digits, single blanks, `-`, brackets (`DocumentBlock`), and no other's.
    fn name(&mut self, title: Option<&str>) -> String {
        let title = title.unwrap_or("document");
        let is_fit = |letter: char| letter.is_ascii_alphanumeric() || "-()[] ".contains(letter);
        let plain: String = title
            .chars()
            .map(|letter| if is_fit(letter) { letter } else { '-' })
            .collect();
        let mut plain = plain.split_whitespace().collect::<Vec<_>>().join(" ");
        // Room for a number.
        plain.truncate(NAME_BYTES_MAX - 8);
        if plain.is_empty() {
            plain.push_str("document");
        }
        let numbered = (2..).map(|nth| format!("{plain}-{nth}"));
        let mut names = std::iter::once(plain.clone()).chain(numbered);
        let name = names.find(|name| !self.names.contains(name));
        let name = name.unwrap_or(plain);
        self.names.push(name.clone());
        name
    }
}

/// A block with bytes in a format, its object left open.
fn write_bytes(kind: &str, format: &str, data: &str, out: &mut Vec<u8>) {
    open(out, b'{');
    open_field(out, kind, b'{');
    text(out, "format", format);
    open_field(out, "source", b'{');
    text(out, "bytes", data);
    out.extend_from_slice(b"}}");
}

/// A sealed thought; without its seal no provider takes one back.
fn write_thought(part: &Part<'_>, unsupported: &mut UnsupportedFields, out: &mut Vec<u8>) {
    match part {
        Part::Thinking {
            text: thought,
            signature: Some(signature),
        } => {
            open(out, b'{');
            open_field(out, "reasoningContent", b'{');
            open_field(out, "reasoningText", b'{');
            text(out, "text", thought);
            text(out, "signature", signature);
            out.extend_from_slice(b"}}}");
        }
        Part::Redacted { data } => {
            open(out, b'{');
            open_field(out, "reasoningContent", b'{');
            text(out, "redactedContent", data);
            out.extend_from_slice(b"}}");
        }
        _ => unsupported.note_dropped("thinking"),
    }
}

/// Ids of calls hold letters, digits, `_`, `.`, `:` and `-` only (`ToolUseId`); those of other providers may
/// not, and may be longer. Call and result are changed alike; of a long one its end is kept, which differs.
fn write_call_id(id: &str, out: &mut Vec<u8>) {
    let fits = |letter: char| letter.is_ascii_alphanumeric() || "_.:-".contains(letter);
    if id.chars().all(fits) && id.len() <= CALL_ID_BYTES_MAX {
        text(out, "toolUseId", id);
        return;
    }
    let id: String = id
        .chars()
        .map(|letter| if fits(letter) { letter } else { '_' })
        .collect();
    let from = id.len().saturating_sub(CALL_ID_BYTES_MAX);
    text(out, "toolUseId", id.get(from..).unwrap_or_default());
}

/// A prompt-cache marker's meaning, as a block behind what it marked.
pub(crate) fn write_cache_point(marker: Option<&str>, out: &mut Vec<u8>) {
    #[derive(Deserialize)]
    struct Marker {
        ttl: Option<String>,
    }
    let Some(marker) = marker else {
        return;
    };
    let ttl = serde_json::from_str::<Marker>(marker).ok();
    let ttl = ttl.and_then(|marker| marker.ttl);
    open(out, b'{');
    open_field(out, "cachePoint", b'{');
    raw(out, "type", "\"default\"");
    if let Some(ttl) = ttl.filter(|ttl| ["5m", "1h"].contains(&ttl.as_str())) {
        text(out, "ttl", &ttl);
    }
    out.extend_from_slice(b"}}");
}
