//! `GET /v1/models`: the configured models, in OpenAI's form.

use super::json::write_string;

/// One model object. `created` is the gateway's start, in seconds since the Unix epoch.
pub fn write_model(out: &mut Vec<u8>, name: &str, created: u64) {
    out.extend_from_slice(b"{\"id\":");
    write_string(out, name);
    out.extend_from_slice(b",\"object\":\"model\",\"created\":");
    super::json::write_u64(out, created);
    out.extend_from_slice(b",\"owned_by\":\"ringside\"}");
}

/// The list.
#[must_use]
pub fn list<'m>(names: impl Iterator<Item = &'m str>, created: u64) -> Vec<u8> {
    let mut out = b"{\"object\":\"list\",\"data\":[".to_vec();
    for (at, name) in names.enumerate() {
        if at > 0 {
            out.push(b',');
        }
        write_model(&mut out, name, created);
    }
    out.extend_from_slice(b"]}");
    out
}

/// Resolves `%XX` in a path segment; `None` if it is malformed.
#[must_use]
pub fn percent_decoded(segment: &str) -> Option<String> {
    let mut bytes = segment.bytes();
    let mut out = Vec::with_capacity(segment.len());
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let high = char::from(bytes.next()?).to_digit(16)?;
            let low = char::from(bytes.next()?).to_digit(16)?;
            out.push(u8::try_from(high * 16 + low).ok()?);
        } else {
            out.push(byte);
        }
    }
    String::from_utf8(out).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_json() {
        let json = list(["a\"b", "c"].into_iter(), 7);
        let value: serde_json::Value = serde_json::from_slice(&json).unwrap();
        assert_eq!(value["data"][0]["id"], "a\"b");
        assert_eq!(value["data"][1]["created"], 7);
    }

    #[test]
    fn escaped_model_names() {
        assert_eq!(
            percent_decoded("meta%2Fllama").as_deref(),
            Some("meta/llama")
        );
        assert_eq!(percent_decoded("a%2"), None);
    }
}
