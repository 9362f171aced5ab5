//! Adapts a chat request to a provider whose API is compatible with OpenAI's but renames or rejects some parameters.
//! It edits the bytes of the request; all other bytes stay as the client sent them.
//!
//! It must not know any provider: the differences of each are a line in `models/providers/family.toml`.

use crate::error::code::ErrorCode;
use crate::error::gateway_error::GatewayError;
use crate::protocols::json::document::{Document, Scratch};
use crate::protocols::json::splice::{Edit, after_brace, string_end, value_end, value_start};
use crate::protocols::neutral::unsupported_fields::UnsupportedFields;
use memchr::memmem;
use std::collections::BTreeMap;
use std::ops::Range;

/// Fields that do not influence the generated text: metadata, and the option that requests usage.
const HARMLESS: [&str; 8] = [
    "store",
    "metadata",
    "service_tier",
    "user",
    "safety_identifier",
    "prompt_cache_key",
    "prompt_cache_retention",
    "stream_options",
];

/// How a provider's parameters differ from OpenAI's.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ParamCompat<'k> {
    /// New names of fields, by OpenAI's name.
    pub rename: &'k BTreeMap<String, String>,
    /// Fields that the provider rejects.
    pub refuses: &'k [String],
    /// The role that replaces `developer`, if the provider does not know that one.
    pub developer: Option<&'k str>,
}

/// Whether the provider accepts `field`.
#[must_use]
pub(crate) fn accepts(compat: Option<&ParamCompat<'_>>, field: &str) -> bool {
    compat.is_none_or(|compat| !compat.refuses.iter().any(|refused| refused == field))
}

/// The chat request `body` in the form that the provider accepts; `None` if it needs no change.
///
/// # Errors
/// 400 that names a field that the provider does not support.
pub(crate) fn adapt(
    compat: &ParamCompat<'_>,
    body: &[u8],
    unsupported: &mut UnsupportedFields,
    scratch: &mut Scratch,
) -> Result<Option<Vec<u8>>, GatewayError> {
    if !mentions_any(compat, body) {
        return Ok(None);
    }
    scratch
        .with_document(body, |document| {
            rewrite(compat, body, document, unsupported)
        })
        .map_err(|bad| GatewayError::new(ErrorCode::InvalidJson, bad.message))?
}

/// Whether the body contains any of the names at all. Most bodies do not, and need no parsing.
fn mentions_any(compat: &ParamCompat<'_>, body: &[u8]) -> bool {
    let mentions = |word: &str| memmem::find(body, word.as_bytes()).is_some();
    let developer = compat.developer.iter().map(|_| "developer");
    let fields = compat
        .rename
        .keys()
        .chain(compat.refuses)
        .map(String::as_str);
    fields.chain(developer).any(mentions)
}

/// A field of the body's top level.
struct Piece {
    /// The bytes between the commas around the field.
    range: Range<usize>,
    is_included: bool,
}

fn rewrite(
    compat: &ParamCompat<'_>,
    body: &[u8],
    document: &Document<'_>,
    unsupported: &mut UnsupportedFields,
) -> Result<Option<Vec<u8>>, GatewayError> {
    let not_found = || {
        GatewayError::new(
            ErrorCode::InternalError,
            "the position of a field was not found",
        )
    };
    let (mut pieces, mut edits) = (Vec::new(), Vec::new());
    let start = after_brace(body).ok_or_else(not_found)?;
    let mut from = start;
    for (key, value) in document.root_fields().ok_or_else(not_found)? {
        let key_at = document.offset_of(key).ok_or_else(not_found)?;
        let end = value_start(body, key_at).and_then(|at| value_end(body, at));
        let end = end.ok_or_else(not_found)?;
        let rest = body.get(end..).unwrap_or_default();
        let blank = rest.iter().take_while(|byte| byte.is_ascii_whitespace());
        let end = end + blank.count();
        let is_included = is_sent(compat, document, key, value, unsupported)?;
        pieces.push(Piece {
            range: from..end,
            is_included,
        });
        from = end + 1;
        if !is_included {
            continue;
        }
        if let Some(name) = compat.rename.get(key) {
            let range = key_at..string_end(body, key_at).ok_or_else(not_found)?;
            let with = name.clone().into_bytes();
            edits.push(Edit { range, with });
        }
        if let ("messages", Some(role)) = (key, compat.developer) {
            rename_developers(document, value, role, &mut edits);
        }
    }
    if edits.is_empty() && pieces.iter().all(|piece| piece.is_included) {
        return Ok(None);
    }
    let mut out = Vec::with_capacity(body.len() + 64);
    out.extend_from_slice(body.get(..start).unwrap_or_default());
    let mut edits = edits.as_slice();
    for (nth, piece) in pieces.iter().filter(|piece| piece.is_included).enumerate() {
        if nth > 0 {
            out.push(b',');
        }
        edits = copy(body, &piece.range, edits, &mut out);
    }
    let end = pieces.last().map_or(start, |piece| piece.range.end);
    out.extend_from_slice(body.get(end..).unwrap_or_default());
    Ok(Some(out))
}

/// Whether a field is sent to the provider. A field that is not sent is reported as unsupported.
fn is_sent(
    compat: &ParamCompat<'_>,
    document: &Document<'_>,
    key: &str,
    value: usize,
    unsupported: &mut UnsupportedFields,
) -> Result<bool, GatewayError> {
    if let Some(name) = compat.rename.get(key) {
        // If both names are present, the provider's own name takes precedence.
        let is_twice = document.field(0, name).is_some();
        if is_twice {
            unsupported.note_dropped(key);
        }
        return Ok(!is_twice);
    }
    if accepts(Some(compat), key) {
        return Ok(true);
    }
    if HARMLESS.contains(&key) || asks_for_the_default(document, key, value) {
        unsupported.note_dropped(key);
    } else {
        unsupported.reject_or_drop(key)?;
    }
    Ok(false)
}

/// Whether the field has its default value, so that leaving it out changes nothing.
fn asks_for_the_default(document: &Document<'_>, key: &str, value: usize) -> bool {
    if document.is_null(value) {
        return true;
    }
    match key {
        "n" => document.unsigned(value) == Some(1),
        "logprobs" => document.boolean(value) == Some(false),
        "parallel_tool_calls" => document.boolean(value) == Some(true),
        "frequency_penalty" | "presence_penalty" => document.number(value) == Some(0.0),
        "logit_bias" => document
            .fields(value)
            .is_some_and(|mut all| all.next().is_none()),
        _ => false,
    }
}

/// Edits that replace the role `developer` in messages.
fn rename_developers(document: &Document<'_>, messages: usize, role: &str, edits: &mut Vec<Edit>) {
    for message in document.elements(messages).into_iter().flatten() {
        let role_text = document.text_of(message, "role");
        let role_text = role_text.filter(|role_text| *role_text == "developer");
        if let Some(at) = role_text.and_then(|role_text| document.offset_of(role_text)) {
            edits.push(Edit {
                range: at..at + "developer".len(),
                with: role.as_bytes().to_vec(),
            });
        }
    }
}

/// Appends a range of `body` with the edits inside it, which are the first ones of `edits`; the edits after it.
fn copy<'e>(body: &[u8], range: &Range<usize>, edits: &'e [Edit], out: &mut Vec<u8>) -> &'e [Edit] {
    let inside = edits.partition_point(|edit| edit.range.end <= range.end);
    let (inside, after) = edits.split_at_checked(inside).unwrap_or((&[], edits));
    let mut from = range.start;
    for edit in inside {
        out.extend_from_slice(body.get(from..edit.range.start).unwrap_or_default());
        out.extend_from_slice(&edit.with);
        from = edit.range.end;
    }
    out.extend_from_slice(body.get(from..range.end).unwrap_or_default());
    after
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fit_all(
        body: &str,
        unsupported: &mut UnsupportedFields,
    ) -> Result<Option<Vec<u8>>, GatewayError> {
        let renames = [
            ("seed", "random_seed"),
            ("max_completion_tokens", "max_tokens"),
        ];
        let rename = renames.map(|(from, to)| (from.to_owned(), to.to_owned()));
        let compat = ParamCompat {
            rename: &BTreeMap::from(rename),
            refuses: &["store", "n", "stream_options"].map(str::to_owned),
            developer: Some("system"),
        };
        adapt(
            &compat,
            body.as_bytes(),
            unsupported,
            &mut Scratch::default(),
        )
    }

    fn fit(body: &str, drops: bool) -> (Result<Option<String>, String>, String) {
        let mut unsupported = UnsupportedFields::new(drops);
        let out = fit_all(body, &mut unsupported);
        let out = out
            .map(|body| body.map(|body| String::from_utf8(body).unwrap()))
            .map_err(|error| error.param.unwrap_or_default().into_owned());
        (out, unsupported.header().unwrap_or_default())
    }

    #[test]
    fn a_request_without_differences_is_not_changed() {
        for body in [
            r#"{"model":"m","messages":[{"role":"user","content":"hi"}]}"#,
            // The names occur, but not as fields.
            r#"{"model":"m","messages":[{"role":"user","content":"store \"seed\": developer"}]}"#,
        ] {
            assert_eq!(fit(body, false), (Ok(None), String::new()), "{body}");
        }
    }

    #[test]
    fn fields_are_renamed_and_removed_at_any_position() {
        let (out, dropped) = fit(
            r#"{ "store": true , "seed" : 7, "messages":[{"role":"developer","content":"a\"}, "},{"content":1,"role":"user"}], "n":1,"stream_options":{"include_usage":true} }"#,
            false,
        );
        assert_eq!(
            out.unwrap().unwrap(),
            r#"{ "random_seed" : 7, "messages":[{"role":"system","content":"a\"}, "},{"content":1,"role":"user"}]}"#
        );
        assert_eq!(dropped, "store,n,stream_options");
        let (out, dropped) = fit(r#"{"max_completion_tokens":5,"max_tokens":4}"#, false);
        assert_eq!(out.unwrap().unwrap(), r#"{"max_tokens":4}"#);
        assert_eq!(dropped, "max_completion_tokens");
        assert_eq!(fit(r#"{"store":1}"#, false).0.unwrap().unwrap(), "{}");
    }

    #[test]
    fn a_field_that_changes_the_response_is_rejected_or_dropped() {
        let body = r#"{"model":"m","n":2}"#;
        assert_eq!(fit(body, false).0.unwrap_err(), "n");
        let (out, dropped) = fit(body, true);
        assert_eq!(out.unwrap().unwrap(), r#"{"model":"m"}"#);
        assert_eq!(dropped, "n");
    }

    #[test]
    fn every_subset_leaves_valid_json() {
        let fields = [
            r#""store":true"#,
            r#""seed" : 7 "#,
            "\n\"n\":1",
            r#""a":{"store":[1,"n"]}"#,
            r#""stream_options":{}"#,
        ];
        for mask in 0..32_u32 {
            let chosen = fields
                .iter()
                .enumerate()
                .filter(|(at, _)| mask & (1 << at) != 0);
            let chosen: Vec<&str> = chosen.map(|(_, field)| *field).collect();
            let body = format!("{{{}}}", chosen.join(","));
            let out = fit(&body, false).0.unwrap().unwrap_or(body.clone());
            let value: serde_json::Value = serde_json::from_str(&out).unwrap();
            assert_eq!(value.get("random_seed").is_some(), mask & 2 != 0, "{body}");
            assert_eq!(value.get("a").is_some(), mask & 8 != 0, "{body}");
            assert!(value.get("store").is_none() && value.get("n").is_none());
        }
    }
}
