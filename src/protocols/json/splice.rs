//! Edits of a request's original bytes: replace a string or a literal, add a field.
//!
//! All other bytes stay as the client sent them, so that the prompt caches of providers, which compare bytes, still
//! match.

use std::ops::Range;

/// One replacement of a byte range (empty range = insertion).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edit {
    /// Bytes of the original to replace.
    pub range: Range<usize>,
    /// The replacement.
    pub with: Vec<u8>,
}

/// Appends `original` with `edits` applied. Edits must be in order and must not overlap.
pub(crate) fn apply<'e>(
    original: &[u8],
    edits: impl IntoIterator<Item = (&'e Range<usize>, &'e [u8])>,
    out: &mut Vec<u8>,
) {
    let mut from = 0;
    for (range, with) in edits {
        out.extend_from_slice(original.get(from..range.start).unwrap_or_default());
        out.extend_from_slice(with);
        from = range.end;
    }
    out.extend_from_slice(original.get(from..).unwrap_or_default());
}

/// The end (exclusive, before the closing quote) of the JSON string whose content begins at `start`.
#[must_use]
pub(crate) fn string_end(json: &[u8], start: usize) -> Option<usize> {
    let mut at = start;
    loop {
        match json.get(at)? {
            b'"' => return Some(at),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

/// The offset of the value of the key whose content begins at `key_start`.
#[must_use]
pub(crate) fn value_start(json: &[u8], key_start: usize) -> Option<usize> {
    let mut at = string_end(json, key_start)? + 1;
    loop {
        match json.get(at)? {
            b' ' | b'\t' | b'\r' | b'\n' | b':' => at += 1,
            _ => return Some(at),
        }
    }
}

/// The offset after the value that begins at `start`, in valid JSON.
#[must_use]
pub(crate) fn value_end(json: &[u8], start: usize) -> Option<usize> {
    let mut depth = 0_usize;
    let mut at = start;
    loop {
        match json.get(at) {
            Some(b'"') => {
                at = string_end(json, at + 1)? + 1;
                if depth == 0 {
                    return Some(at);
                }
                continue;
            }
            Some(b'{' | b'[') => depth += 1,
            Some(b'}' | b']') if depth == 0 => return Some(at),
            Some(b'}' | b']') => {
                depth -= 1;
                if depth == 0 {
                    return Some(at + 1);
                }
            }
            Some(b',' | b' ' | b'\t' | b'\r' | b'\n') if depth == 0 => return Some(at),
            Some(_) => {}
            None => return (depth == 0).then_some(at),
        }
        at += 1;
    }
}

/// The range of the field whose key's content begins at `key_start`, with the comma after it or, for the last field,
/// the comma before it. The document stays valid without this range.
#[must_use]
pub(crate) fn field_range(json: &[u8], key_start: usize) -> Option<Range<usize>> {
    let start = key_start.checked_sub(1)?;
    let end = value_end(json, value_start(json, key_start)?)?;
    let blank = |byte: &u8| byte.is_ascii_whitespace();
    let after = end
        + json
            .get(end..)?
            .iter()
            .take_while(|byte| blank(byte))
            .count();
    if json.get(after) == Some(&b',') {
        return Some(start..after + 1);
    }
    let before = json.get(..start)?.iter().rposition(|byte| !blank(byte))?;
    let is_comma = json.get(before) == Some(&b',');
    Some(if is_comma { before } else { start }..end)
}

/// The offset just after the opening brace of the document.
#[must_use]
pub(crate) fn after_brace(json: &[u8]) -> Option<usize> {
    memchr::memchr(b'{', json).map(|at| at + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edits_leave_the_rest_untouched() {
        let json = br#"{"model": "a\"b" , "x":1}"#;
        let start = 11;
        let end = string_end(json, start).unwrap();
        assert_eq!(&json[start..end], br#"a\"b"#);
        let mut out = Vec::new();
        let model = start..end;
        let front = 1..1;
        apply(
            json,
            [
                (&front, b"\"s\":2,".as_slice()),
                (&model, b"gpt".as_slice()),
            ],
            &mut out,
        );
        assert_eq!(out, br#"{"s":2,"model": "gpt" , "x":1}"#);
    }

    #[test]
    fn values_are_found_by_their_key() {
        let json = b"{\"k\" :\n true}";
        assert_eq!(value_start(json, 2), Some(8));
        assert_eq!(string_end(b"never ends", 0), None);
    }

    #[test]
    fn the_end_of_every_kind_of_value_is_found() {
        for value in [
            "1.50",
            "null",
            r#""a]\"}""#,
            r#"{"a":[1,{"b":"}"}],"c":{}}"#,
            "[]",
        ] {
            for after in ["", ",\"x\":1}", " }", "]"] {
                let json = format!("{value}{after}");
                assert_eq!(value_end(json.as_bytes(), 0), Some(value.len()), "{json}");
            }
        }
        assert_eq!(value_end(b"{\"a\":", 0), None);
    }
}
