//! Finds fields of a request by name, in both spellings that Google accepts: `inlineData` and `inline_data`.

use crate::protocols::json::document::Document;
use arrayvec::ArrayString;

/// A field's name in lower case without `_`, so that both spellings are equal; empty if it is longer than any name of
/// this API.
pub(crate) fn plain(name: &str) -> ArrayString<40> {
    let mut plain = ArrayString::new();
    for letter in name.chars().filter(|letter| *letter != '_') {
        if plain.try_push(letter.to_ascii_lowercase()).is_err() {
            return ArrayString::new();
        }
    }
    plain
}

/// The key and value of the field whose plain name is `name`.
pub(crate) fn field<'d>(
    document: &Document<'d>,
    at: usize,
    name: &str,
) -> Option<(&'d str, usize)> {
    let mut fields = document.fields(at)?;
    fields.find(|(key, value)| plain(key).as_str() == name && !document.is_null(*value))
}

pub(crate) fn node_of(document: &Document<'_>, at: usize, name: &str) -> Option<usize> {
    field(document, at, name).map(|(_, value)| value)
}

pub(crate) fn text_of<'d>(document: &Document<'d>, at: usize, name: &str) -> Option<&'d str> {
    document.text(node_of(document, at, name)?)
}

pub(crate) fn raw_of<'d>(document: &Document<'d>, at: usize, name: &str) -> Option<&'d str> {
    document.raw(field(document, at, name)?.0)
}

/// The elements of the array in the field whose plain name is `name`.
pub(crate) fn list_of<'d>(
    document: &Document<'d>,
    at: usize,
    name: &str,
) -> impl Iterator<Item = usize> + use<'d> {
    let list = node_of(document, at, name);
    list.and_then(|at| document.elements(at))
        .into_iter()
        .flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_spellings_are_equal() {
        assert_eq!(plain("systemInstruction"), plain("system_instruction"));
        assert_eq!(&plain(&"x".repeat(41)), "");
    }
}
