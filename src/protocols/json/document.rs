//! Parsed JSON without a tree: a reusable tape over a scratch copy. Strings have the same offsets as in the original.

use crate::protocols::json::size::{VALUES_MAX, has_more_values};
use crate::protocols::json::splice;
use simd_json::Buffers;
use simd_json::tape::{Node, Tape};

/// Deepest nesting accepted in a request.
pub const DEPTH_MAX: usize = 64;

/// Parser memory, one per core. It grows to the largest body so far, up to [`SCRATCH_BYTES_KEPT`].
pub struct Scratch {
    bytes: Vec<u8>,
    buffers: Buffers,
    tape: Tape<'static>,
}

/// Scratch memory that is retained between requests, in bytes.
pub const SCRATCH_BYTES_KEPT: usize = 1024 * 1024;

impl Default for Scratch {
    fn default() -> Self {
        Self {
            bytes: Vec::new(),
            buffers: Buffers::with_max_depth(4096, DEPTH_MAX),
            tape: Tape(Vec::new()),
        }
    }
}

/// A parsed document: a list of nodes. Each string is in the scratch copy at its offset in the original.
pub struct Document<'s> {
    nodes: &'s [Node<'s>],
    base: usize,
    original: &'s [u8],
}

/// Why a document could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadJson {
    /// The defect and its position (line and column).
    pub message: String,
}

impl Scratch {
    /// Parses a copy of `json` and hands the document to `read`.
    ///
    /// # Errors
    /// [`BadJson`], with the position.
    pub fn with_document<R>(
        &mut self,
        json: &[u8],
        read: impl FnOnce(&Document<'_>) -> R,
    ) -> Result<R, BadJson> {
        if has_more_values(json, VALUES_MAX) {
            return Err(BadJson {
                message: format!("the body has more than {VALUES_MAX} JSON values (VALUES_MAX)"),
            });
        }
        self.bytes.clear();
        self.bytes.extend_from_slice(json);
        let mut tape = std::mem::replace(&mut self.tape, Tape(Vec::new())).reset();
        let base = self.bytes.as_ptr() as usize;
        let outcome = match simd_json::fill_tape(&mut self.bytes, &mut self.buffers, &mut tape) {
            Ok(()) => Ok(read(&Document {
                nodes: &tape.0,
                base,
                original: json,
            })),
            Err(error) => Err(bad_json(json, &error)),
        };
        self.tape = tape.reset();
        if self.bytes.capacity() > SCRATCH_BYTES_KEPT {
            *self = Self::default();
        }
        outcome
    }
}

/// The slow path: serde_json finds the line and column.
fn bad_json(json: &[u8], error: &simd_json::Error) -> BadJson {
    let message = match serde_json::from_slice::<serde::de::IgnoredAny>(json) {
        Err(error) => format!("the body is not valid JSON: {error}"),
        Ok(_) => format!(
            "the body is not JSON that can be read here (nesting deeper than {DEPTH_MAX}, or {error})"
        ),
    };
    BadJson { message }
}

impl<'s> Document<'s> {
    /// All nodes, root first.
    #[must_use]
    pub fn nodes(&self) -> &'s [Node<'s>] {
        self.nodes
    }

    /// The document's text.
    #[must_use]
    pub(crate) fn original(&self) -> &'s [u8] {
        self.original
    }

    /// The fields of the root, if it is an object.
    #[must_use]
    pub fn root_fields(&self) -> Option<Fields<'s>> {
        self.fields(0)
    }

    /// The fields of the object at node `at`; `None` if it is not an object.
    #[must_use]
    pub fn fields(&self, at: usize) -> Option<Fields<'s>> {
        match self.nodes.get(at) {
            Some(Node::Object { len, .. }) => Some(Fields {
                nodes: self.nodes,
                at: at + 1,
                left: *len,
            }),
            _ => None,
        }
    }

    /// The elements of the array at node `at`; `None` if it is not an array.
    #[must_use]
    pub fn elements(&self, at: usize) -> Option<Elements<'s>> {
        match self.nodes.get(at) {
            Some(Node::Array { len, .. }) => Some(Elements {
                nodes: self.nodes,
                at: at + 1,
                left: *len,
            }),
            _ => None,
        }
    }

    /// The string at node `at`.
    #[must_use]
    pub fn text(&self, at: usize) -> Option<&'s str> {
        match self.nodes.get(at) {
            Some(Node::String(text)) => Some(text),
            _ => None,
        }
    }

    /// The value node of the field `name` of the object at `at`.
    #[must_use]
    pub fn field(&self, at: usize, name: &str) -> Option<usize> {
        self.fields(at)?
            .find(|(key, _)| *key == name)
            .map(|(_, value)| value)
    }

    /// The boolean at node `at`.
    #[must_use]
    pub fn boolean(&self, at: usize) -> Option<bool> {
        match self.nodes.get(at) {
            Some(Node::Static(simd_json::StaticNode::Bool(value))) => Some(*value),
            _ => None,
        }
    }

    /// The non-negative whole number at node `at`.
    #[must_use]
    pub fn unsigned(&self, at: usize) -> Option<u64> {
        match self.nodes.get(at) {
            Some(Node::Static(simd_json::StaticNode::I64(value))) => u64::try_from(*value).ok(),
            Some(Node::Static(simd_json::StaticNode::U64(value))) => Some(*value),
            _ => None,
        }
    }

    /// True if node `at` is `null`.
    #[must_use]
    pub fn is_null(&self, at: usize) -> bool {
        matches!(
            self.nodes.get(at),
            Some(Node::Static(simd_json::StaticNode::Null))
        )
    }

    /// The offset in the original of `text`, a string of this document; `None` if it belongs to another document.
    #[must_use]
    pub fn offset_of(&self, text: &str) -> Option<usize> {
        let offset = (text.as_ptr() as usize).checked_sub(self.base)?;
        (offset < self.original.len()).then_some(offset)
    }

    /// The number at node `at`.
    #[must_use]
    pub fn number(&self, at: usize) -> Option<f64> {
        match self.nodes.get(at) {
            Some(Node::Static(simd_json::StaticNode::F64(value))) => Some(*value),
            Some(Node::Static(simd_json::StaticNode::I64(value))) => Some(*value as f64),
            Some(Node::Static(simd_json::StaticNode::U64(value))) => Some(*value as f64),
            _ => None,
        }
    }

    /// The unparsed value of the field with this key; `key` is a string of this document.
    #[must_use]
    pub fn raw(&self, key: &str) -> Option<&'s str> {
        let start = splice::value_start(self.original, self.offset_of(key)?)?;
        let end = splice::value_end(self.original, start)?;
        std::str::from_utf8(self.original.get(start..end)?).ok()
    }

    /// The text of the field `name` of the object at `at`.
    #[must_use]
    pub fn text_of(&self, at: usize, name: &str) -> Option<&'s str> {
        self.text(self.field(at, name)?)
    }

    /// The whole number in the field `name` of the object at `at`.
    #[must_use]
    pub fn unsigned_of(&self, at: usize, name: &str) -> Option<u64> {
        self.unsigned(self.field(at, name)?)
    }

    /// The unparsed field `name` of the object at `at`; `None` if it is absent or `null`.
    #[must_use]
    pub fn raw_of(&self, at: usize, name: &str) -> Option<&'s str> {
        let mut fields = self.fields(at)?;
        let (key, value) = fields.find(|(key, _)| *key == name)?;
        if self.is_null(value) {
            return None;
        }
        self.raw(key)
    }
}

/// The number of nodes of `node` and its contents.
#[must_use]
pub fn span(node: &Node<'_>) -> usize {
    match node {
        Node::Object { count, .. } | Node::Array { count, .. } => count + 1,
        _ => 1,
    }
}

/// Iterates over an object: the key and the value node of each field.
pub struct Fields<'s> {
    nodes: &'s [Node<'s>],
    at: usize,
    left: usize,
}

impl<'s> Iterator for Fields<'s> {
    type Item = (&'s str, usize);

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let Some(Node::String(key)) = self.nodes.get(self.at) else {
            return None;
        };
        let value = self.at + 1;
        self.at = value + self.nodes.get(value).map_or(1, span);
        Some((key, value))
    }
}

/// Iterates over an array: the node of each element.
pub struct Elements<'s> {
    nodes: &'s [Node<'s>],
    at: usize,
    left: usize,
}

impl Iterator for Elements<'_> {
    type Item = usize;

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let at = self.at;
        self.at += self.nodes.get(at).map_or(1, span);
        Some(at)
    }
}

/// Appends `text` as a JSON string, quotes included.
pub fn write_string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    write_escaped(out, text);
    out.push(b'"');
}

/// Bytes of a string that are compared together: enough for the compiler to use vector instructions.
const PIECE_BYTES: usize = 32;

/// Appends `text` as the content of a JSON string, without quotes.
pub fn write_escaped(out: &mut Vec<u8>, text: &str) {
    out.reserve(text.len());
    let (pieces, rest) = text.as_bytes().as_chunks::<PIECE_BYTES>();
    for piece in pieces {
        // Compares all bytes without an early exit, which lets the compiler use vector instructions.
        let is_plain = piece
            .iter()
            .fold(true, |plain, byte| plain & !needs_escape(*byte));
        if is_plain {
            out.extend_from_slice(piece);
        } else {
            escape_bytes(out, piece);
        }
    }
    escape_bytes(out, rest);
}

fn needs_escape(byte: u8) -> bool {
    (byte < 0x20) | (byte == b'"') | (byte == b'\\')
}

fn escape_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    let mut from = 0;
    for (at, byte) in bytes.iter().enumerate() {
        let escape: &[u8] = match byte {
            b'"' => b"\\\"",
            b'\\' => b"\\\\",
            b'\n' => b"\\n",
            b'\r' => b"\\r",
            b'\t' => b"\\t",
            0x00..=0x1f => b"",
            _ => continue,
        };
        out.extend_from_slice(bytes.get(from..at).unwrap_or_default());
        if escape.is_empty() {
            out.extend_from_slice(format!("\\u{byte:04x}").as_bytes());
        } else {
            out.extend_from_slice(escape);
        }
        from = at + 1;
    }
    out.extend_from_slice(bytes.get(from..).unwrap_or_default());
}

/// Appends a whole number.
pub fn write_u64(out: &mut Vec<u8>, number: u64) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_lie_at_their_offset_in_the_original() {
        let json = br#"{ "a\n" : "b\u0041c", "model":"gpt" }"#;
        let mut scratch = Scratch::default();
        let offset = scratch
            .with_document(json, |doc| {
                let at = doc.field(0, "model").unwrap();
                doc.offset_of(doc.text(at).unwrap()).unwrap()
            })
            .unwrap();
        assert_eq!(&json[offset..offset + 3], b"gpt");
    }

    #[test]
    fn broken_json_names_the_position() {
        let mut scratch = Scratch::default();
        let bad = scratch
            .with_document(b"{\"model\": \"x\",\n \"messages\": [}", |_| ())
            .unwrap_err();
        assert!(bad.message.contains("line 2 column 15"), "{}", bad.message);
    }

    #[test]
    fn the_number_of_values_is_limited() {
        let mut scratch = Scratch::default();
        let many = format!("[{}1]", "1,".repeat(VALUES_MAX - 2));
        let count = |document: &Document<'_>| document.nodes().len();
        assert!(scratch.with_document(many.as_bytes(), count).is_ok());
        let more = format!("[{}1]", "1,".repeat(VALUES_MAX));
        let bad = scratch.with_document(more.as_bytes(), count).unwrap_err();
        assert!(bad.message.contains("VALUES_MAX"), "{}", bad.message);
        let text = format!("[\"{}\"]", ",".repeat(3 * VALUES_MAX));
        assert!(scratch.with_document(text.as_bytes(), count).is_ok());
    }

    #[test]
    fn nesting_beyond_the_limit_is_rejected() {
        let mut scratch = Scratch::default();
        let deep = format!("{}{}", "[".repeat(100), "]".repeat(100));
        let bad = scratch.with_document(deep.as_bytes(), |_| ()).unwrap_err();
        assert!(bad.message.contains("nesting"), "{}", bad.message);
        assert!(scratch.with_document(b"[[1]]", |_| ()).is_ok());
    }

    #[test]
    fn written_strings_read_back() {
        let short = ["", "plain", "q\"b\\n\n\t\u{1}é😀", "\u{7f}"].map(str::to_owned);
        let every = |byte: u8| (0..70).map(move |at| format!("{:at$}{}é", "", char::from(byte)));
        let bytes = [b'"', b'\\', b'\n', 0, 0x1f, b' ', b'!'].into_iter();
        for text in short.into_iter().chain(bytes.flat_map(every)) {
            let mut out = Vec::new();
            write_string(&mut out, &text);
            let back: String = serde_json::from_slice(&out).unwrap();
            assert_eq!(back, text);
        }
    }
}
