//! What a provider that is compatible with OpenAI's API calls by another name, or refuses, put right on the
//! bytes of a chat request. What is not touched stays byte for byte as it was.
//!
//! It must not know any provider: what is odd about one is a line of data (`config/family.rs`).

use crate::config::provider_family::Kind;
use crate::error::code::ErrorCode;
use crate::error::gateway_error::GatewayError;
use crate::protocols::json::document::{Document, Scratch};
use crate::protocols::json::splice::{Edit, after_brace, string_end, value_end, value_start};
use crate::protocols::neutral::unsupported_fields::UnsupportedFields;
use memchr::memmem;
use std::ops::Range;

/// Fields that cannot change what the answer says: bookkeeping, and the wish for usage.
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

/// Whether a provider of this kind takes `field`.
#[must_use]
pub(crate) fn takes(kind: Option<&Kind>, field: &str) -> bool {
    kind.is_none_or(|kind| !kind.refuses.iter().any(|one| one == field))
}

/// The chat request `body` as a provider of this kind takes it; `None` if that is as it is.
///
/// # Errors
/// 400 naming a field that would be lost.
pub(crate) fn fitted(
    kind: &Kind,
    body: &[u8],
    unsupported: &mut UnsupportedFields,
    scratch: &mut Scratch,
) -> Result<Option<Vec<u8>>, GatewayError> {
    if !mentions_any(kind, body) {
        return Ok(None);
    }
    scratch
        .with_document(body, |document| rewrite(kind, body, document, unsupported))
        .map_err(|bad| GatewayError::new(ErrorCode::InvalidJson, bad.message))?
}

/// Whether one of the words that matter stands in the body at all: most often none does.
fn mentions_any(kind: &Kind, body: &[u8]) -> bool {
    let mentions = |word: &str| memmem::find(body, word.as_bytes()).is_some();
    let developer = kind.developer.iter().map(|_| "developer");
    let fields = kind.rename.keys().chain(&kind.refuses).map(String::as_str);
    fields.chain(developer).any(mentions)
}

/// A field of the body's top level.
struct Piece {
    /// What stands between the commas around it.
    range: Range<usize>,
    is_kept: bool,
}

fn rewrite(
    kind: &Kind,
    body: &[u8],
    document: &Document<'_>,
    unsupported: &mut UnsupportedFields,
) -> Result<Option<Vec<u8>>, GatewayError> {
    let lost = || GatewayError::new(ErrorCode::InternalError, "a field's place was not found");
    let (mut pieces, mut edits) = (Vec::new(), Vec::new());
    let start = after_brace(body).ok_or_else(lost)?;
    let mut from = start;
    for (key, value) in document.root_fields().ok_or_else(lost)? {
        let key_at = document.offset_of(key).ok_or_else(lost)?;
        let end = value_start(body, key_at).and_then(|at| value_end(body, at));
        let end = end.ok_or_else(lost)?;
        let rest = body.get(end..).unwrap_or_default();
        let blank = rest.iter().take_while(|byte| byte.is_ascii_whitespace());
        let end = end + blank.count();
        let is_kept = keep(kind, key, (document, value), unsupported)?;
        pieces.push(Piece {
            range: from..end,
            is_kept,
        });
        from = end + 1;
        if !is_kept {
            continue;
        }
        if let Some(name) = kind.rename.get(key) {
            let range = key_at..string_end(body, key_at).ok_or_else(lost)?;
            let with = name.clone().into_bytes();
            edits.push(Edit { range, with });
        }
        if let ("messages", Some(role)) = (key, &kind.developer) {
            rename_developers(document, value, role, &mut edits);
        }
    }
    if edits.is_empty() && pieces.iter().all(|piece| piece.is_kept) {
        return Ok(None);
    }
    let mut out = Vec::with_capacity(body.len() + 64);
    out.extend_from_slice(body.get(..start).unwrap_or_default());
    for (nth, piece) in pieces.iter().filter(|piece| piece.is_kept).enumerate() {
        if nth > 0 {
            out.push(b',');
        }
        copy(body, &piece.range, &edits, &mut out);
    }
    let end = pieces.last().map_or(start, |piece| piece.range.end);
    out.extend_from_slice(body.get(end..).unwrap_or_default());
    Ok(Some(out))
}

/// Whether a field is sent on. One that is not is named.
fn keep(
    kind: &Kind,
    key: &str,
    (document, value): (&Document<'_>, usize),
    unsupported: &mut UnsupportedFields,
) -> Result<bool, GatewayError> {
    if let Some(name) = kind.rename.get(key) {
        // Both names: the provider's own counts.
        let is_twice = document.field(0, name).is_some();
        if is_twice {
            unsupported.hint(key);
        }
        return Ok(!is_twice);
    }
    if takes(Some(kind), key) {
        return Ok(true);
    }
    if HARMLESS.contains(&key) || asks_for_the_default(document, key, value) {
        unsupported.hint(key);
    } else {
        unsupported.lose(key)?;
    }
    Ok(false)
}

/// Whether leaving the field out asks for the same.
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

/// Edits that give messages of the role `developer` another.
fn rename_developers(document: &Document<'_>, messages: usize, role: &str, edits: &mut Vec<Edit>) {
    for message in document.elements(messages).into_iter().flatten() {
        let said = document.text_of(message, "role");
        let said = said.filter(|said| *said == "developer");
        if let Some(at) = said.and_then(|said| document.offset_of(said)) {
            edits.push(Edit {
                range: at..at + "developer".len(),
                with: role.as_bytes().to_vec(),
            });
        }
    }
}

/// Appends a range of `body` with the edits that lie in it.
fn copy(body: &[u8], range: &Range<usize>, edits: &[Edit], out: &mut Vec<u8>) {
    let mut from = range.start;
    for edit in edits {
        if edit.range.start >= from && edit.range.end <= range.end {
            out.extend_from_slice(body.get(from..edit.range.start).unwrap_or_default());
            out.extend_from_slice(&edit.with);
            from = edit.range.end;
        }
    }
    out.extend_from_slice(body.get(from..range.end).unwrap_or_default());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::provider_family::read_table;

    fn kind() -> Kind {
        let line = "x = { rename = { seed = \"random_seed\", max_completion_tokens = \"max_tokens\" }, \
                    refuses = [\"store\", \"n\", \"stream_options\"], developer = \"system\", from = \"test\" }";
        read_table(line).unwrap().remove(0)
    }

    fn fit(body: &str, drops: bool) -> (Result<Option<String>, String>, String) {
        let mut unsupported = UnsupportedFields::new(drops);
        let out = fitted(
            &kind(),
            body.as_bytes(),
            &mut unsupported,
            &mut Scratch::default(),
        );
        let out = out
            .map(|body| body.map(|body| String::from_utf8(body).unwrap()))
            .map_err(|fault| fault.param.unwrap_or_default().into_owned());
        (out, unsupported.header().unwrap_or_default())
    }

    #[test]
    fn what_is_not_odd_is_not_touched() {
        for body in [
            r#"{"model":"m","messages":[{"role":"user","content":"hi"}]}"#,
            // The words occur, but not as fields.
            r#"{"model":"m","messages":[{"role":"user","content":"store \"seed\": developer"}]}"#,
        ] {
            assert_eq!(fit(body, false), (Ok(None), String::new()), "{body}");
        }
    }

    #[test]
    fn fields_are_renamed_and_left_out_wherever_they_stand() {
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
    fn what_would_change_the_answer_is_refused_or_dropped() {
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
