//! Writes JSON field by field into a buffer. The byte before a value decides whether it needs a comma.
//!
//! The caller writes the opening brace of a document.

use crate::protocols::json::document::{write_string, write_u64};

/// Appends a comma, unless this is the first element or the value of a key.
pub(crate) fn comma(out: &mut Vec<u8>) {
    if !matches!(out.last(), Some(b'{' | b'[' | b':')) {
        out.push(b',');
    }
}

/// Appends a key; the value must follow. `name` must not need escapes.
pub(crate) fn key(out: &mut Vec<u8>, name: &str) {
    comma(out);
    out.push(b'"');
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
}

/// Appends a string field.
pub(crate) fn text(out: &mut Vec<u8>, name: &str, value: &str) {
    key(out, name);
    write_string(out, value);
}

/// Appends an integer field.
pub(crate) fn number(out: &mut Vec<u8>, name: &str, value: u64) {
    key(out, name);
    write_u64(out, value);
}

/// Appends a field whose value is already JSON.
pub(crate) fn raw(out: &mut Vec<u8>, name: &str, value: &str) {
    key(out, name);
    out.extend_from_slice(value.as_bytes());
}

/// Appends a field if it has a value.
pub(crate) fn raw_if(out: &mut Vec<u8>, name: &str, value: Option<&str>) {
    if let Some(value) = value {
        raw(out, name, value);
    }
}

/// Appends a field with a list of strings, unless the list is empty.
pub(crate) fn texts_if(out: &mut Vec<u8>, name: &str, values: &[impl AsRef<str>]) {
    if values.is_empty() {
        return;
    }
    open_field(out, name, b'[');
    for value in values {
        comma(out);
        write_string(out, value.as_ref());
    }
    out.push(b']');
}

/// Opens an array element or, after a key, a value: `bracket` is `{` or `[`.
pub(crate) fn open(out: &mut Vec<u8>, bracket: u8) {
    comma(out);
    out.push(bracket);
}

/// Opens the field `name`: `bracket` is `{` or `[`.
pub(crate) fn open_field(out: &mut Vec<u8>, name: &str, bracket: u8) {
    key(out, name);
    out.push(bracket);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commas_stand_between_fields_and_elements() {
        let mut out = b"{".to_vec();
        text(&mut out, "a", "x{");
        open_field(&mut out, "b", b'[');
        open(&mut out, b'{');
        number(&mut out, "n", 7);
        out.push(b'}');
        open(&mut out, b'{');
        out.extend_from_slice(b"}]");
        raw(&mut out, "c", "[1]");
        raw_if(&mut out, "d", None);
        texts_if(&mut out, "e", &["x\"", "y"]);
        texts_if(&mut out, "f", &[""; 0]);
        out.push(b'}');
        assert_eq!(
            String::from_utf8(out).unwrap(),
            r#"{"a":"x{","b":[{"n":7},{}],"c":[1],"e":["x\"","y"]}"#
        );
    }
}
