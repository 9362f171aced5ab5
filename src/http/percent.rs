//! Percent-encoding of parts of a URL (RFC 3986, 2.1). It must not know what the parts mean.

/// Appends `text` with all but unreserved characters (RFC 3986, 2.3) and those in `kept` escaped: one
/// segment of a path, or a value of a query.
pub fn push_escaped(text: &str, kept: &[u8], out: &mut String) {
    for byte in text.bytes() {
        let is_plain = byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
        if is_plain || kept.contains(&byte) {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_part_a_url_is_escaped() {
        let escaped = |text, kept| {
            let mut out = String::new();
            push_escaped(text, kept, &mut out);
            out
        };
        assert_eq!(escaped("a-._~9", b""), "a-._~9");
        assert_eq!(escaped("a/b:c?d#e%2f", b""), "a%2Fb%3Ac%3Fd%23e%252f");
        assert_eq!(escaped("a/b@\u{e9} ", b"/@"), "a/b@%C3%A9%20");
    }
}
