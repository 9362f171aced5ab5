//! Writes the messages of a Converse request: turns, content blocks, files and cache points.

use crate::error::gateway_error::GatewayError;
use crate::protocols::json::name_map::NameMap;
use crate::protocols::json::write::{key, open, open_field, raw, text};
use crate::protocols::neutral::request::{Message, Part, Source};
use crate::protocols::neutral::tool_arguments::write_input;
use crate::protocols::neutral::turns::write_turns;
use crate::protocols::neutral::unsupported_fields::UnsupportedFields;
use serde::Deserialize;

/// Longest id of a tool call, in bytes (`ToolUseId`).
const CALL_ID_BYTES_MAX: usize = 64;

/// Longest name of a document, in bytes (`DocumentBlockNameString`).
const NAME_BYTES_MAX: usize = 200;

/// Image formats by media type (`ImageFormat`).
const IMAGES: [(&str, &str); 5] = [
    ("image/png", "png"),
    ("image/jpeg", "jpeg"),
    ("image/jpg", "jpeg"),
    ("image/gif", "gif"),
    ("image/webp", "webp"),
];

/// Document formats by media type (`DocumentFormat`).
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

/// Audio formats that have the same name in both APIs (`AudioFormat`).
const SOUNDS: [&str; 6] = ["wav", "mp3", "flac", "opus", "ogg", "m4a"];

/// Writes the content blocks of one request.
#[derive(Default)]
pub(crate) struct Writer {
    /// The names of documents so far, which must be unique, and for each the number that its next namesake gets.
    names: NameMap<String, usize>,
}

impl Writer {
    /// Appends the system prompt: the system messages before the conversation.
    ///
    /// # Errors
    /// 400 that names a part that this API does not support.
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
                        unsupported.reject_or_drop(&format!("messages[{}].content", message.at))?;
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

    /// Appends the conversation. Adjacent messages of one role become one turn, and empty turns are left out, because
    /// this API requires alternating roles and texts that are not empty.
    ///
    /// # Errors
    /// 400 that names a part that this API does not support.
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

    /// Appends a tool's result and leaves its object open.
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

    /// Appends an image or a document and leaves its object open; false if it was dropped.
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
            // The API fetches only from S3 and stores no files; the end of the name gives the format.
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

    /// A unique document name of letters, digits, single blanks, `-` and brackets (`DocumentBlock`).
    fn name(&mut self, title: Option<&str>) -> String {
        let title = title.unwrap_or("document");
        let is_fit = |letter: char| letter.is_ascii_alphanumeric() || "-()[] ".contains(letter);
        let plain: String = title
            .chars()
            .map(|letter| if is_fit(letter) { letter } else { '-' })
            .collect();
        let mut plain = plain.split_whitespace().collect::<Vec<_>>().join(" ");
        // Leaves space for a number.
        plain.truncate(NAME_BYTES_MAX - 8);
        if plain.is_empty() {
            plain.push_str("document");
        }
        let Some(mut nth) = self.names.get(&plain).copied() else {
            self.names.insert(plain.clone(), 2);
            return plain;
        };
        // Another document may have a title that ends in the number.
        let name = loop {
            let name = format!("{plain}-{nth}");
            nth += 1;
            if self.names.get(&name).is_none() {
                break name;
            }
        };
        self.names.insert(name.clone(), 2);
        self.names.insert(plain, nth);
        name
    }
}

/// Appends a block of bytes in a format and leaves its object open.
fn write_bytes(kind: &str, format: &str, data: &str, out: &mut Vec<u8>) {
    open(out, b'{');
    open_field(out, kind, b'{');
    text(out, "format", format);
    open_field(out, "source", b'{');
    text(out, "bytes", data);
    out.extend_from_slice(b"}}");
}

/// Appends a signed thought; every provider rejects a thought without its signature.
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

/// Ids of calls may contain only letters, digits, `_`, `.`, `:` and `-` (`ToolUseId`) and have a maximum length. Ids
/// of other providers are converted, in the same way in the call and in its result. A long id is cut at the front,
/// because ids differ at the end.
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

/// Appends a prompt-cache marker as a block after the marked block.
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
