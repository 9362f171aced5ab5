//! The digits of a document's numbers as they were written. The parser keeps 64 bits, which is less than some numbers
//! have.

use crate::protocols::json::document::Document;
use crate::protocols::json::splice::string_end;
use simd_json::StaticNode;
use simd_json::tape::Node;

/// Whether the parser's value may stand for several texts: floating-point numbers, which integers beyond 64 bits
/// become too, and zero, which may have a sign.
#[must_use]
pub(crate) fn loses_digits(value: StaticNode) -> bool {
    matches!(
        value,
        StaticNode::F64(_) | StaticNode::I64(0) | StaticNode::U64(0)
    )
}

/// The node and the text of each number that [`loses_digits`], in the order of the document. Strings are skipped, and
/// between them and numbers there are no digits.
#[must_use]
pub(crate) fn number_texts<'s>(document: &Document<'s>) -> Vec<(usize, &'s str)> {
    let mut texts = Vec::new();
    let is_needed = |node: &Node<'_>| matches!(node, Node::Static(value) if loses_digits(*value));
    if !document.nodes().iter().any(is_needed) {
        return texts;
    }
    let (mut from, mut string) = (0, None);
    for (index, node) in document.nodes().iter().enumerate() {
        match node {
            Node::String(text) => string = document.offset_of(text),
            Node::Static(
                value @ (StaticNode::F64(_) | StaticNode::I64(_) | StaticNode::U64(_)),
            ) => {
                if let Some(start) = string.take() {
                    let end = string_end(document.original(), start);
                    from = end.map_or(from, |end| end + 1);
                }
                let Some((text, end)) = next_number(document.original(), from) else {
                    break;
                };
                if loses_digits(*value) {
                    texts.push((index, text));
                }
                from = end;
            }
            _ => {}
        }
    }
    texts
}

/// The first number at or after `from`, where no string begins before it, and its end.
fn next_number(json: &[u8], from: usize) -> Option<(&str, usize)> {
    let is_start = |byte: &u8| byte.is_ascii_digit() || *byte == b'-';
    let is_inside = |byte: &u8| byte.is_ascii_digit() || b"+-.eE".contains(byte);
    let start = from + json.get(from..)?.iter().position(is_start)?;
    let rest = json.get(start..)?;
    let length = rest.iter().take_while(|byte| is_inside(byte)).count();
    let text = std::str::from_utf8(rest.get(..length)?).ok()?;
    Some((text, start + length))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocols::json::document::Scratch;

    #[test]
    fn digits_are_found_wherever_a_number_stands() {
        let json = r#"{"a 1":18446744073709551617,"b\"2":[1,-0,"3 \" 4",2.50,[0,{"":1E3}],"",-7],"c":"0.5",
            "d":{"e":null,"f":[],"g":-1.0e-2 , "h":5}}"#;
        let read = |document: &Document<'_>| {
            let texts = number_texts(document).into_iter();
            let texts = texts.map(|(index, text)| {
                assert!(matches!(document.nodes().get(index), Some(Node::Static(_))));
                text.to_owned()
            });
            texts.collect::<Vec<_>>()
        };
        let texts = Scratch::default().with_document(json.as_bytes(), read);
        let expected = ["18446744073709551617", "-0", "2.50", "0", "1E3", "-1.0e-2"];
        assert_eq!(texts.unwrap(), expected);
    }
}
