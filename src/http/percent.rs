//! Percent-encoding of parts of a URL (RFC 3986, 2.1). It must not know what the parts mean.

use std::borrow::Cow;

/// Appends `text`, with all characters escaped except unreserved ones (RFC 3986, 2.3) and those in `unescaped`: a
/// path segment, or a query value.
pub fn push_escaped(text: &str, unescaped: &[u8], out: &mut String) {
    for byte in text.bytes() {
        let is_plain = byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
        if is_plain || unescaped.contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push('%');
            for half in [byte >> 4, byte & 15] {
                let digit = char::from_digit(u32::from(half), 16).unwrap_or('0');
                out.push(digit.to_ascii_uppercase());
            }
        }
    }
}

/// Decodes `text`; `None` if an escape is malformed, or if the result is not UTF-8. A plus sign stays, because it
/// means a blank only in forms.
#[must_use]
pub fn unescaped(text: &str) -> Option<Cow<'_, str>> {
    if !text.contains('%') {
        return Some(Cow::Borrowed(text));
    }
    let mut bytes = text.bytes();
    let mut out = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let high = char::from(bytes.next()?).to_digit(16)?;
            let low = char::from(bytes.next()?).to_digit(16)?;
            out.push(u8::try_from(high * 16 + low).ok()?);
        } else {
            out.push(byte);
        }
    }
    String::from_utf8(out).ok().map(Cow::Owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delimiters_of_a_url_are_escaped() {
        let escaped = |text, unescaped| {
            let mut out = String::new();
            push_escaped(text, unescaped, &mut out);
            out
        };
        assert_eq!(escaped("a-._~9", b""), "a-._~9");
        assert_eq!(escaped("a/b:c?d#e%2f", b""), "a%2Fb%3Ac%3Fd%23e%252f");
        assert_eq!(escaped("a/b@\u{e9} ", b"/@"), "a/b@%C3%A9%20");
    }

    #[test]
    fn escaped_text_decodes_to_the_original() {
        assert_eq!(unescaped("a+b/c").as_deref(), Some("a+b/c"));
        assert_eq!(
            unescaped("meta%2Fllama%20%c3%A9").as_deref(),
            Some("meta/llama \u{e9}")
        );
        let mut escaped = String::new();
        push_escaped("a%/\u{e9}?", b"", &mut escaped);
        assert_eq!(unescaped(&escaped).as_deref(), Some("a%/\u{e9}?"));
        for bad in ["a%2", "%", "%zz", "%+1", "%c3"] {
            assert_eq!(unescaped(bad), None, "{bad}");
        }
    }
}
