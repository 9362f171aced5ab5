//! The canonical form of a request: two requests share a cached response only if their forms are equal. It is here
//! and not in `cache`, because it is written while the request is parsed and depends on the wire format.
//!
//! Every field counts, known or not, except a short list of neutral fields and the model, which the caller replaces
//! by the resolved one. Object keys are sorted, array order is preserved. The text of the last user message is
//! returned separately, so that the same form is the scope of a semantic look-up, and form plus text is the key of an
//! exact one.

use crate::protocols::json::document::{Document, span};
use crate::protocols::json::number_texts::{loses_digits, number_texts};
use simd_json::StaticNode;
use simd_json::tape::Node;

/// Top-level fields that do not change the content of a response.
pub const NEUTRAL: [&str; 7] = [
    "model",
    "user",
    "metadata",
    "store",
    "service_tier",
    "stream",
    "stream_options",
];

/// Initial capacity of a scope, in bytes: enough for a question without system prompt and parameters, including the
/// tenant.
const SCOPE_BYTES_EXPECTED: usize = 256;

/// Why a request has no semantic look-up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotSemantic {
    /// The last message is not from the user.
    LastMessageNotUser,
    /// The last message contains more than one text (images, files, audio, several parts).
    NotPlainText,
    /// A seed requests reproducible output.
    Seed,
    /// The request has several choices, or token probabilities.
    SeveralChoices,
}

impl NotSemantic {
    /// Name in `x-ringside-cache-reason` and metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::LastMessageNotUser => "last-message-not-user",
            Self::NotPlainText => "not-plain-text",
            Self::Seed => "seed",
            Self::SeveralChoices => "several-choices",
        }
    }
}

/// The canonical form, split at the question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Canonical {
    /// The question followed by everything else. The cache stores it in this order, so nothing is copied.
    form: Vec<u8>,
    question_bytes: usize,
    /// Whether the question may have a semantic hit.
    pub semantic: Result<(), NotSemantic>,
}

impl Canonical {
    /// A form with this question and an empty scope.
    #[must_use]
    pub fn new(question: &str, semantic: Result<(), NotSemantic>) -> Self {
        let mut form = Vec::with_capacity(question.len() + SCOPE_BYTES_EXPECTED);
        form.extend_from_slice(question.as_bytes());
        Self {
            form,
            question_bytes: question.len(),
            semantic,
        }
    }

    /// Appends to the scope.
    pub fn extend_scope(&mut self, more: &[u8]) {
        self.form.extend_from_slice(more);
    }

    /// Question and scope together, and the length of the question in bytes.
    #[must_use]
    pub fn into_form(self) -> (Vec<u8>, usize) {
        (self.form, self.question_bytes)
    }

    /// The text of the last user message; empty if the message is not plain text (the scope then contains it).
    #[must_use]
    pub fn question(&self) -> &str {
        let question = self.form.get(..self.question_bytes);
        std::str::from_utf8(question.unwrap_or_default()).unwrap_or_default()
    }

    /// Everything except the question.
    #[cfg(test)]
    pub(crate) fn scope(&self) -> &[u8] {
        &self.form[self.question_bytes..]
    }
}

/// Writes the canonical form of a chat request whose root object is `document`.
#[must_use]
pub fn canonical(document: &Document<'_>) -> Canonical {
    let mut exact_only = None;
    for (key, value) in document.root_fields().into_iter().flatten() {
        match key {
            "seed" if !document.is_null(value) => exact_only = Some(NotSemantic::Seed),
            "n" if document.unsigned(value) != Some(1) && !document.is_null(value) => {
                exact_only = Some(NotSemantic::SeveralChoices);
            }
            "logprobs" if document.boolean(value) == Some(true) => {
                exact_only = Some(NotSemantic::SeveralChoices);
            }
            _ => {}
        }
    }
    form(document, question_node(document), exact_only)
}

/// Writes the form of a request in any wire format. `question_at` is the node of the question's text, or the reason
/// why there is none; `exact_only` is a further reason against a semantic look-up.
pub(crate) fn form(
    document: &Document<'_>,
    question_at: Result<usize, NotSemantic>,
    exact_only: Option<NotSemantic>,
) -> Canonical {
    let semantic = exact_only.map_or(question_at.map(|_| ()), Err);
    let mut fields: Vec<(&str, usize)> = Vec::with_capacity(16);
    for (key, value) in document.root_fields().into_iter().flatten() {
        if !NEUTRAL.contains(&key) {
            fields.push((key, value));
        }
    }
    fields.sort_unstable();
    let question = question_at.ok().and_then(|at| document.text(at));
    let mut canonical = Canonical::new(question.unwrap_or_default(), semantic);
    let writer = Writer {
        nodes: document.nodes(),
        number_texts: number_texts(document),
        left_out: question_at.ok(),
    };
    for (key, value) in fields {
        write_text(&mut canonical.form, b'k', key);
        writer.write(value, &mut canonical.form);
    }
    canonical
}

/// The string node with the text of the last user message.
fn question_node(document: &Document<'_>) -> Result<usize, NotSemantic> {
    let messages = document
        .field(0, "messages")
        .and_then(|at| document.elements(at))
        .and_then(Iterator::last)
        .ok_or(NotSemantic::LastMessageNotUser)?;
    let role = document
        .field(messages, "role")
        .and_then(|at| document.text(at));
    if role != Some("user") {
        return Err(NotSemantic::LastMessageNotUser);
    }
    let content = document
        .field(messages, "content")
        .ok_or(NotSemantic::NotPlainText)?;
    if document.text(content).is_some() {
        return Ok(content);
    }
    let mut parts = document
        .elements(content)
        .ok_or(NotSemantic::NotPlainText)?;
    let (Some(part), None) = (parts.next(), parts.next()) else {
        return Err(NotSemantic::NotPlainText);
    };
    let kind = document
        .field(part, "type")
        .and_then(|at| document.text(at));
    let text = document
        .field(part, "text")
        .filter(|at| document.text(*at).is_some());
    match (kind, text) {
        (Some("text"), Some(text)) => Ok(text),
        _ => Err(NotSemantic::NotPlainText),
    }
}

struct Writer<'s> {
    nodes: &'s [Node<'s>],
    /// The numbers that are written with their digits, by node.
    number_texts: Vec<(usize, &'s str)>,
    left_out: Option<usize>,
}

impl Writer<'_> {
    /// Appends the value at `at`, tagged and prefixed with its length, so that different values never have equal
    /// bytes.
    fn write(&self, at: usize, out: &mut Vec<u8>) {
        match self.nodes.get(at) {
            Some(Node::String(_)) if self.left_out == Some(at) => out.push(b'?'),
            Some(Node::String(text)) => write_text(out, b's', text),
            Some(Node::Static(value)) => match self.number_text(at, *value) {
                Some(text) => write_text(out, b'd', text),
                None => write_static(out, *value),
            },
            Some(Node::Array { len, .. }) => {
                write_length(out, b'a', *len);
                let mut element = at + 1;
                for _ in 0..*len {
                    self.write(element, out);
                    element += self.nodes.get(element).map_or(1, span);
                }
            }
            Some(Node::Object { len, .. }) => self.write_object(at + 1, *len, out),
            None => {}
        }
    }

    /// The digits of the number at node `at`, if its value does not determine them.
    fn number_text(&self, at: usize, value: StaticNode) -> Option<&str> {
        if !loses_digits(value) {
            return None;
        }
        let found = self.number_texts.binary_search_by_key(&at, |(at, _)| *at);
        self.number_texts.get(found.ok()?).map(|(_, text)| *text)
    }

    fn write_object(&self, first: usize, len: usize, out: &mut Vec<u8>) {
        write_length(out, b'o', len);
        let mut fields: arrayvec::ArrayVec<(&str, usize), 16> = arrayvec::ArrayVec::new();
        let mut many = Vec::new();
        let mut at = first;
        for _ in 0..len {
            if let Some(Node::String(key)) = self.nodes.get(at)
                && fields.try_push((key, at + 1)).is_err()
            {
                many.push((*key, at + 1));
            }
            at += 1;
            at += self.nodes.get(at).map_or(1, span);
        }
        let sorted = if many.is_empty() {
            fields.as_mut_slice()
        } else {
            many.extend(fields.iter().copied());
            many.as_mut_slice()
        };
        // Sorted by key, then by position, because the order of equal keys can matter to a provider.
        sorted.sort_unstable();
        for (key, value) in sorted {
            write_text(out, b'k', key);
            self.write(*value, out);
        }
    }
}

fn write_text(out: &mut Vec<u8>, tag: u8, text: &str) {
    write_length(out, tag, text.len());
    out.extend_from_slice(text.as_bytes());
}

fn write_length(out: &mut Vec<u8>, tag: u8, len: usize) {
    out.push(tag);
    out.extend_from_slice(&(len as u64).to_le_bytes());
}

fn write_static(out: &mut Vec<u8>, value: StaticNode) {
    match value {
        StaticNode::Null => out.push(b'n'),
        StaticNode::Bool(false) => out.push(b'f'),
        StaticNode::Bool(true) => out.push(b't'),
        StaticNode::I64(number) => {
            out.push(b'i');
            out.extend_from_slice(&number.to_le_bytes());
        }
        StaticNode::U64(number) => {
            out.push(b'u');
            out.extend_from_slice(&number.to_le_bytes());
        }
        StaticNode::F64(number) => {
            out.push(b'd');
            out.extend_from_slice(&number.to_bits().to_le_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocols::json::document::Scratch;

    pub(crate) fn form(json: &str) -> Canonical {
        Scratch::default()
            .with_document(json.as_bytes(), canonical)
            .unwrap()
    }

    #[test]
    fn key_order_and_neutral_fields_do_not_matter() {
        let a = form(
            r#"{"model":"m","temperature":0.5,"messages":[{"role":"user","content":"hi"}],"tools":[{"b":1,"a":2}]}"#,
        );
        let b = form(
            r#"{"stream":true,"tools":[{"a":2,"b":1}],"messages":[{"content":"hi","role":"user"}],"temperature":0.5,"user":"u","model":"x"}"#,
        );
        assert_eq!(a, b);
        assert_eq!(a.question(), "hi");
        assert_eq!(a.semantic, Ok(()));
    }

    #[test]
    fn everything_else_matters() {
        let base = form(r#"{"messages":[{"role":"user","content":"hi"}]}"#);
        for other in [
            r#"{"messages":[{"role":"system","content":"x"},{"role":"user","content":"hi"}]}"#,
            r#"{"messages":[{"role":"user","content":"hi"}],"temperature":1}"#,
            r#"{"messages":[{"role":"user","content":"hi"}],"unknown_field":null}"#,
            r#"{"messages":[{"role":"user","content":"hi","name":"bob"}]}"#,
            r#"{"messages":[{"role":"user","content":[{"type":"text","text":"hi"}]}]}"#,
            r#"{"messages":[{"role":"user","content":"hi"}],"max_tokens":1}"#,
        ] {
            assert_ne!(base.scope(), form(other).scope(), "{other}");
        }
        let other = form(r#"{"messages":[{"role":"user","content":"ho"}]}"#);
        assert_eq!(base.scope(), other.scope());
    }

    #[test]
    fn numbers_keep_their_digits() {
        let numbers = [
            "0",
            "-0",
            "0.0",
            "1",
            "1.0",
            "1.5",
            "1.50",
            "15e-1",
            "18446744073709551615",
            "18446744073709551616",
            "18446744073709551617",
            "-9223372036854775809",
            "-9223372036854775810",
            "0.1",
            "0.10000000000000000001",
        ];
        let bodies: [fn(&str) -> String; 4] = [
            |number| format!(r#"{{"seed":{number}}}"#),
            |number| format!(r#"{{"x":[7,"1",{number},{{"y":[]}}]}}"#),
            |number| format!(r#"{{"x":[[{{"é\"1":[2,{number}]}}]],"z":0.5}}"#),
            |number| {
                format!(r#"{{"tools":[{{"function":{{"parameters":{{"const":{number}}}}}}}]}}"#)
            },
        ];
        for body in bodies {
            for (nth, number) in numbers.iter().enumerate() {
                let base = form(&body(number));
                assert_eq!(base, form(&body(number).replace(',', " , ")));
                for other in &numbers[nth + 1..] {
                    assert_ne!(base, form(&body(other)), "{number} and {other}");
                }
            }
        }
    }

    #[test]
    fn a_question_that_is_not_plain_text_has_no_semantic_hit() {
        for (json, why) in [
            (
                r#"{"messages":[{"role":"tool","content":"hi"}]}"#,
                NotSemantic::LastMessageNotUser,
            ),
            (
                r#"{"messages":[{"role":"user","content":[{"type":"text","text":"a"},{"type":"image_url","image_url":{"url":"u"}}]}]}"#,
                NotSemantic::NotPlainText,
            ),
            (
                r#"{"seed":1,"messages":[{"role":"user","content":"a"}]}"#,
                NotSemantic::Seed,
            ),
            (
                r#"{"n":2,"messages":[{"role":"user","content":"a"}]}"#,
                NotSemantic::SeveralChoices,
            ),
        ] {
            assert_eq!(form(json).semantic, Err(why), "{json}");
        }
    }

    #[test]
    fn objects_with_many_keys_are_sorted_too() {
        let fields: Vec<String> = (0..40).map(|at| format!("\"k{at}\":{at}")).collect();
        let mut reversed = fields.clone();
        reversed.reverse();
        let a = form(&format!(r#"{{"x":{{{}}}}}"#, fields.join(",")));
        let b = form(&format!(r#"{{"x":{{{}}}}}"#, reversed.join(",")));
        assert_eq!(a, b);
    }
}
