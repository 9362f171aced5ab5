//! `GET /v1/models`: the configured models in OpenAI's form.

use crate::protocols::json::document::write_string;

/// Appends one model object. `created` is the start of the gateway, in seconds since the Unix epoch.
pub fn write_model(out: &mut Vec<u8>, name: &str, created: u64) {
    out.extend_from_slice(b"{\"id\":");
    write_string(out, name);
    out.extend_from_slice(b",\"object\":\"model\",\"created\":");
    crate::protocols::json::document::write_u64(out, created);
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
}
