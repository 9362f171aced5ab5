//! The shape of a chat request: its size and what it requires of a model. It is read from the parsed tape, and stores
//! none of the request's text.

use crate::protocols::json::document::{Document, span};
use simd_json::tape::Node;

/// Bytes of text per token, for estimates: English text has four to five, code and other languages fewer.
pub(crate) const BYTES_PER_TOKEN: u64 = 4;

/// Tokens of a message in addition to its text (role and separators; OpenAI's cookbook counts three to four).
const TOKENS_PER_MESSAGE: u64 = 4;

/// Size and requirements of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Shape {
    /// Bytes of text in messages, tools and schema.
    pub text_bytes: u64,
    /// Number of messages.
    pub messages: u64,
    /// The request contains images, audio or files, whose tokens cannot be estimated.
    pub has_media: bool,
    /// The request contains an image.
    pub has_images: bool,
    /// The request offers tools.
    pub has_tools: bool,
    /// The response must follow a JSON schema.
    pub wants_schema: bool,
    /// The response is streamed.
    pub streams: bool,
    /// Most tokens of the response, if the request sets a limit.
    pub completion_max: Option<u64>,
}

impl Shape {
    /// The estimated tokens of the prompt; `None` if it contains more than text.
    #[must_use]
    pub fn prompt_tokens(&self) -> Option<u64> {
        (!self.has_media).then(|| self.text_tokens())
    }

    /// The estimated tokens of its text.
    #[must_use]
    pub fn text_tokens(&self) -> u64 {
        self.text_bytes.div_ceil(BYTES_PER_TOKEN) + TOKENS_PER_MESSAGE * self.messages
    }

    /// Adds a field of the request.
    pub(crate) fn field(&mut self, document: &Document<'_>, name: &str, value: usize) {
        match name {
            "messages" => self.messages(document, value),
            // Fields of Responses: a text, or items that resemble messages; and the text format.
            "input" if document.text(value).is_some() => {
                self.messages += 1;
                self.text_bytes += text_bytes(document, value);
            }
            "input" => self.messages(document, value),
            "instructions" => self.text_bytes += text_bytes(document, value),
            "text" => {
                let format = document.field(value, "format");
                let kind = format.and_then(|at| document.text_of(at, "type"));
                self.wants_schema |= kind == Some("json_schema");
                self.text_bytes += text_bytes(document, value);
            }
            "tools" | "functions" => {
                self.has_tools |= document
                    .elements(value)
                    .is_some_and(|mut all| all.next().is_some());
                self.text_bytes += text_bytes(document, value);
            }
            "response_format" => {
                let kind = document
                    .field(value, "type")
                    .and_then(|at| document.text(at));
                self.wants_schema = kind == Some("json_schema");
                self.text_bytes += text_bytes(document, value);
            }
            "max_tokens" | "max_completion_tokens" | "max_output_tokens" => {
                self.completion_max = document.unsigned(value).or(self.completion_max);
            }
            _ => {}
        }
    }

    fn messages(&mut self, document: &Document<'_>, value: usize) {
        for message in document.elements(value).into_iter().flatten() {
            self.messages += 1;
            for (name, value) in document.fields(message).into_iter().flatten() {
                match (name, document.elements(value)) {
                    ("role", _) => {}
                    ("content", Some(parts)) => {
                        parts.for_each(|part| self.part(document, part));
                    }
                    _ => self.text_bytes += text_bytes(document, value),
                }
            }
        }
    }

    fn part(&mut self, document: &Document<'_>, part: usize) {
        let kind = document
            .field(part, "type")
            .and_then(|at| document.text(at));
        match kind {
            Some(kind @ ("text" | "refusal" | "input_text" | "output_text")) => {
                let name = if kind == "refusal" { kind } else { "text" };
                let text = document.field(part, name);
                self.text_bytes += text.map_or(0, |at| text_bytes(document, at));
            }
            Some("image_url" | "image" | "input_image") => {
                self.has_media = true;
                self.has_images = true;
            }
            _ => self.has_media = true,
        }
    }
}

/// Bytes of all strings in the value at node `at`, including keys.
pub(crate) fn text_bytes(document: &Document<'_>, at: usize) -> u64 {
    let nodes = document.nodes();
    let end = at + nodes.get(at).map_or(0, span);
    let texts = nodes.get(at..end).unwrap_or_default().iter();
    let bytes = texts.map(|node| match node {
        Node::String(text) => text.len() as u64,
        _ => 0,
    });
    bytes.sum()
}

#[cfg(test)]
mod tests {
    use crate::protocols::json::document::Scratch;
    use crate::protocols::request::chat_request::read_chat;

    #[test]
    fn text_is_counted_and_requirements_are_detected() {
        let shape = |json: &str| {
            let json = format!(r#"{{"model":"m",{json}}}"#);
            read_chat(json.as_bytes(), &mut Scratch::default(), false)
                .unwrap()
                .shape
        };
        let plain = shape(r#""messages":[{"role":"user","content":"12345678"}],"max_tokens":9"#);
        assert_eq!((plain.text_bytes, plain.messages), (8, 1));
        assert_eq!(plain.prompt_tokens(), Some(6));
        assert_eq!(plain.completion_max, Some(9));
        assert!(!plain.has_tools && !plain.has_media && !plain.wants_schema && !plain.streams);
        let rich = shape(
            r#""stream":true,"tools":[{"type":"function"}],"response_format":{"type":"json_schema"},
            "messages":[{"role":"user","content":[{"type":"text","text":"hi"},{"type":"image_url","image_url":{"url":"data:…"}}]}]"#,
        );
        assert!(rich.has_tools && rich.has_images && rich.wants_schema && rich.streams);
        assert_eq!(rich.prompt_tokens(), None);
        let sound =
            shape(r#""tools":[],"messages":[{"role":"user","content":[{"type":"input_audio"}]}]"#);
        assert!(sound.has_media && !sound.has_images && !sound.has_tools);
    }
}
