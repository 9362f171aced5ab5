//! The size of a JSON document in values. What parsing and translating it costs depends on them, more than on its
//! bytes.

/// Most values of a document: objects, arrays, keys, strings, numbers and literals. A request of a thousand messages
/// with a hundred tools has about 20,000, and a batch of 300,000 token ids (the most that OpenAI embeds at once)
/// has as many. Each takes 24 bytes while the document is read.
pub const VALUES_MAX: usize = 2_000_000;

/// Whether `json` has more than `values_max` values. Each but the first comes after a comma, a colon or an opening
/// bracket outside of strings.
#[must_use]
pub(crate) fn has_more_values(json: &[u8], values_max: usize) -> bool {
    // A value that has a separator before it takes two bytes.
    if json.len() < 2 * values_max {
        return false;
    }
    let (mut separators, mut at) = (0, 0);
    while let Some(byte) = json.get(at) {
        at += 1;
        match byte {
            b'"' => at = string_end(json, at),
            b',' | b':' | b'[' | b'{' => {
                separators += 1;
                if separators > values_max {
                    return true;
                }
            }
            _ => {}
        }
    }
    false
}

/// The offset after the string whose content begins at `start`, found with vector instructions.
fn string_end(json: &[u8], start: usize) -> usize {
    let mut at = start;
    loop {
        let rest = json.get(at..).unwrap_or_default();
        let Some(found) = memchr::memchr2(b'"', b'\\', rest) else {
            return json.len();
        };
        at += found + 1;
        if rest.get(found) == Some(&b'"') {
            return at;
        }
        at += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_counted_outside_of_strings() {
        for (json, values) in [
            (r#"[1,2,3,4,5,6,7,8,9,0]"#, 10),
            (r#"{"a":1,"b":[2,{"c":3}]}"#, 8),
            (r#"["a,b:[{\",\\\\",",,,,,,,,,,,,,,"]"#, 2),
        ] {
            assert!(has_more_values(json.as_bytes(), values - 1), "{json}");
            assert!(!has_more_values(json.as_bytes(), values), "{json}");
        }
        assert!(!has_more_values(b"\"never ends \\", 1));
    }
}
