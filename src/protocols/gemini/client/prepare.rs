//! Adds to a Gemini request what the neutral form needs: ids of tool calls, which are optional here and required by
//! other APIs; JSON schemas, where Gemini uses a subset of OpenAPI's; and base64 in the standard alphabet, where
//! Google's SDKs send the URL-safe one.

use crate::protocols::gemini::client::fields::{field, list_of, node_of, plain, raw_of, text_of};
use crate::protocols::gemini::client::waiting_calls::WaitingCalls;
use crate::protocols::gemini::vocabulary::NO_SEAL;
use crate::protocols::json::document::{Document, Scratch, write_string};
use crate::protocols::json::splice::{Edit, apply};
use crate::protocols::json::write::{comma, open, open_field};
use memchr::memmem;
use std::borrow::Cow;

/// The body with ids, JSON schemas and standard base64; `None` if it needs no change.
#[must_use]
pub(crate) fn normalize_request(body: &[u8], scratch: &mut Scratch) -> Option<Vec<u8>> {
    let mentions = |word: &[u8]| memmem::find(body, word).is_some();
    // `functionCall`, `function_declarations`; `responseSchema`; `inlineData`; `thought_signature`.
    let words: [&[u8]; 4] = [b"unction", b"chema", b"nline", b"ignature"];
    if !words.into_iter().any(mentions) {
        return None;
    }
    let read = scratch.with_document(body, |document| {
        let mut edits = Vec::new();
        name_calls(document, body, &mut edits);
        find_schemas(document, body, &mut edits);
        for content in list_of(document, 0, "contents") {
            find_base64(document, body, content, &mut edits);
        }
        edits
    });
    let mut edits = read.ok().filter(|edits| !edits.is_empty())?;
    edits.sort_by_key(|edit| edit.range.start);
    let mut out = Vec::with_capacity(body.len() + 64 * edits.len());
    apply(
        body,
        edits.iter().map(|edit| (&edit.range, edit.with.as_slice())),
        &mut out,
    );
    Some(out)
}

/// The offset of `raw`, a slice of `body`.
fn offset(body: &[u8], raw: &str) -> usize {
    (raw.as_ptr() as usize).saturating_sub(body.as_ptr() as usize)
}

/// Adds an id to each call without one. A result without an id gets the id of the first call with its name that has
/// no result yet.
fn name_calls(document: &Document<'_>, body: &[u8], edits: &mut Vec<Edit>) {
    let mut waiting = WaitingCalls::default();
    let mut made = 0;
    for content in list_of(document, 0, "contents") {
        for part in list_of(document, content, "parts") {
            if let Some((key, call)) = field(document, part, "functioncall") {
                let id = text_of(document, call, "id").map(Cow::Borrowed);
                let name = text_of(document, call, "name").unwrap_or_default();
                let id = id.unwrap_or_else(|| {
                    made += 1;
                    let id = format!("call_{made}");
                    edits.extend(with_id(document, body, Member { key, node: call }, &id));
                    id.into()
                });
                waiting.add(name, id);
            } else if let Some((key, result)) = field(document, part, "functionresponse") {
                let id = text_of(document, result, "id");
                let name = text_of(document, result, "name").unwrap_or_default();
                let found = match id {
                    Some(id) => waiting.take_by_id(id),
                    None => waiting.take_by_name(name),
                };
                if let (None, Some(found)) = (id, found) {
                    let member = Member { key, node: result };
                    edits.extend(with_id(document, body, member, found));
                }
            }
        }
    }
}

/// A member of a JSON object: its key, and the node of its value.
#[derive(Clone, Copy)]
struct Member<'d> {
    key: &'d str,
    node: usize,
}

/// The edit that inserts an id as the first member of the object.
fn with_id(document: &Document<'_>, body: &[u8], member: Member<'_>, id: &str) -> Option<Edit> {
    let inside = offset(body, document.raw(member.key)?) + 1;
    let is_empty = document.fields(member.node)?.next().is_none();
    let mut with = b"\"id\":".to_vec();
    write_string(&mut with, id);
    if !is_empty {
        with.push(b',');
    }
    Some(Edit {
        range: inside..inside,
        with,
    })
}

/// Adds edits that convert bytes and signatures to the standard alphabet, in a content's parts and in its function
/// results.
fn find_base64(document: &Document<'_>, body: &[u8], content: usize, edits: &mut Vec<Edit>) {
    let mut rewrite = |at: usize, name: &str| {
        let raw = raw_of(document, at, name).filter(|raw| raw.starts_with('"'));
        if let Some(raw) = raw.filter(|raw| memchr::memchr2(b'-', b'_', raw.as_bytes()).is_some()) {
            let usual = |byte| match byte {
                b'-' => b'+',
                b'_' => b'/',
                byte => byte,
            };
            let start = offset(body, raw);
            edits.push(Edit {
                range: start..start + raw.len(),
                with: raw.bytes().map(usual).collect(),
            });
        }
    };
    for part in list_of(document, content, "parts") {
        if text_of(document, part, "thoughtsignature") != Some(NO_SEAL) {
            rewrite(part, "thoughtsignature");
        }
        if let Some(data) = node_of(document, part, "inlinedata") {
            rewrite(data, "data");
        }
        let result = node_of(document, part, "functionresponse");
        for part in result
            .into_iter()
            .flat_map(|at| list_of(document, at, "parts"))
        {
            if let Some(data) = node_of(document, part, "inlinedata") {
                rewrite(data, "data");
            }
        }
    }
}

/// Adds edits that rewrite the schemas of tools and of the response as JSON schemas.
fn find_schemas(document: &Document<'_>, body: &[u8], edits: &mut Vec<Edit>) {
    let mut rewrite = |at: usize, name: &str| {
        let found = field(document, at, name).zip(raw_of(document, at, name));
        if let Some(((_, value), raw)) = found {
            // A comma is written before every value that does not follow a colon.
            let mut with = b":".to_vec();
            write_schema(document, value, &mut with);
            let start = offset(body, raw);
            edits.push(Edit {
                range: start..start + raw.len(),
                with: with.split_off(1),
            });
        }
    };
    for tool in list_of(document, 0, "tools") {
        for function in list_of(document, tool, "functiondeclarations") {
            rewrite(function, "parameters");
        }
    }
    if let Some(config) = node_of(document, 0, "generationconfig") {
        rewrite(config, "responseschema");
    }
}

/// Keywords with a different spelling in snake case, by their plain names.
const KEYWORDS: [(&str, &str); 9] = [
    ("minitems", "minItems"),
    ("maxitems", "maxItems"),
    ("minlength", "minLength"),
    ("maxlength", "maxLength"),
    ("minproperties", "minProperties"),
    ("maxproperties", "maxProperties"),
    ("anyof", "anyOf"),
    ("prefixitems", "prefixItems"),
    ("additionalproperties", "additionalProperties"),
];

/// Appends the schema at node `at`: types in lower case, `nullable` as a type, counts as numbers.
fn write_schema(document: &Document<'_>, at: usize, out: &mut Vec<u8>) {
    let Some(fields) = document.fields(at) else {
        // `true` and `false` are valid schemas.
        let literal = document.boolean(at).unwrap_or(true);
        comma(out);
        out.extend_from_slice(if literal { b"true" } else { b"false" });
        return;
    };
    let nullable = node_of(document, at, "nullable").and_then(|at| document.boolean(at));
    open(out, b'{');
    for (name, value) in fields {
        let plain = plain(name);
        let spelled = KEYWORDS.iter().find(|(known, _)| *known == plain.as_str());
        let spelled = spelled.map_or(name, |(_, spelled)| *spelled);
        match plain.as_str() {
            "nullable" | "propertyordering" => {}
            "type" => write_type(document.text(value), nullable == Some(true), out),
            "properties" if document.fields(value).is_some() => {
                open_field(out, "properties", b'{');
                for (name, schema) in document.fields(value).into_iter().flatten() {
                    write_key(name, out);
                    write_schema(document, schema, out);
                }
                out.push(b'}');
            }
            "anyof" | "prefixitems" if document.elements(value).is_some() => {
                open_field(out, spelled, b'[');
                for schema in document.elements(value).into_iter().flatten() {
                    write_schema(document, schema, out);
                }
                out.push(b']');
            }
            "items" | "additionalproperties" => {
                write_key(spelled, out);
                write_schema(document, value, out);
            }
            _ => {
                // Google's JSON writes 64-bit integers as strings.
                let counts = spelled.starts_with("min") || spelled.starts_with("max");
                let digits = document
                    .text(value)
                    .filter(|text| counts && text.parse::<u64>().is_ok());
                if let Some(json) = digits.or_else(|| document.raw(name)) {
                    write_key(spelled, out);
                    out.extend_from_slice(json.as_bytes());
                }
            }
        }
    }
    out.push(b'}');
}

fn write_key(name: &str, out: &mut Vec<u8>) {
    comma(out);
    write_string(out, name);
    out.push(b':');
}

fn write_type(name: Option<&str>, nullable: bool, out: &mut Vec<u8>) {
    let Some(name) = name.filter(|name| !name.eq_ignore_ascii_case("TYPE_UNSPECIFIED")) else {
        return;
    };
    write_key("type", out);
    let name = name.to_ascii_lowercase();
    if nullable {
        out.push(b'[');
        write_string(out, &name);
        out.extend_from_slice(b",\"null\"]");
    } else {
        write_string(out, &name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn prepared(body: &Value) -> Option<Value> {
        let body = body.to_string();
        let out = normalize_request(body.as_bytes(), &mut Scratch::default())?;
        Some(serde_json::from_slice(&out).unwrap())
    }

    #[test]
    fn calls_and_results_get_ids_that_belong_together() {
        let call = |name: &str| json!({"functionCall": {"name": name, "args": {}}});
        let result = |name: &str| json!({"function_response": {"name": name, "response": {}}});
        let body = json!({"contents": [
            {"role": "model", "parts": [call("f"), call("g"), call("f"), {"functionCall": {"id": "x", "name": "f"}}]},
            {"role": "user", "parts": [result("g"), result("f"), result("f"), {"functionResponse": {"id": "x", "name": "f"}}]},
            {"role": "model", "parts": [call("f")]},
            {"role": "user", "parts": [result("f"), result("unknown")]},
        ]});
        let out = prepared(&body).unwrap();
        let id = |content: usize, part: usize, key: &str| {
            out["contents"][content]["parts"][part][key]["id"].clone()
        };
        assert_eq!(id(0, 0, "functionCall"), "call_1");
        assert_eq!(id(1, 0, "function_response"), "call_2");
        assert_eq!(id(1, 1, "function_response"), "call_1");
        assert_eq!(id(1, 2, "function_response"), "call_3");
        assert_eq!(id(1, 3, "functionResponse"), "x");
        assert_eq!(id(3, 0, "function_response"), "call_4");
        assert_eq!(id(3, 1, "function_response"), Value::Null);
    }

    #[test]
    fn schemas_become_json_schemas() {
        let body = json!({
            "contents": [],
            "tools": [{"functionDeclarations": [{"name": "f", "parameters": {
                "type": "OBJECT",
                "properties": {"type": {"type": "STRING", "nullable": true}, "n": {"type": "ARRAY", "min_items": "2", "items": {"type": "INTEGER"}}},
                "propertyOrdering": ["type"],
                "required": ["n"],
            }}]}],
            "generation_config": {"response_schema": {"anyOf": [{"type": "NUMBER"}, {"type": "BOOLEAN"}], "description": "type: \"STRING\""}},
        });
        let out = prepared(&body).unwrap();
        assert_eq!(
            out["tools"][0]["functionDeclarations"][0]["parameters"],
            json!({
                "type": "object",
                "properties": {"type": {"type": ["string", "null"]}, "n": {"type": "array", "minItems": 2, "items": {"type": "integer"}}},
                "required": ["n"],
            })
        );
        assert_eq!(
            out["generation_config"]["response_schema"],
            json!({"anyOf": [{"type": "number"}, {"type": "boolean"}], "description": "type: \"STRING\""})
        );
    }

    #[test]
    fn bytes_are_converted_to_the_standard_alphabet() {
        let body = json!({"contents": [{"parts": [
            {"text": "a-b_c", "thought_signature": "a-b_"},
            {"inlineData": {"mimeType": "image/x-y", "data": "-_8="}},
            {"functionResponse": {"id": "i-1", "name": "f_g", "parts": [{"inline_data": {"data": "_w=="}}]}},
            {"functionCall": {"id": "i-1", "name": "f"}, "thoughtSignature": NO_SEAL},
        ]}]});
        let out = prepared(&body).unwrap();
        let parts = &out["contents"][0]["parts"];
        assert_eq!(
            parts[0],
            json!({"text": "a-b_c", "thought_signature": "a+b/"})
        );
        assert_eq!(
            parts[1]["inlineData"],
            json!({"mimeType": "image/x-y", "data": "+/8="})
        );
        assert_eq!(parts[2]["functionResponse"]["name"], "f_g");
        assert_eq!(
            parts[2]["functionResponse"]["parts"][0]["inline_data"]["data"],
            "/w=="
        );
        assert_eq!(parts[3]["thoughtSignature"], NO_SEAL);
    }

    #[test]
    fn a_complete_request_is_not_changed() {
        assert_eq!(
            prepared(&json!({"contents": [{"parts": [{"text": "function"}]}]})),
            None
        );
        assert_eq!(
            prepared(&json!({"contents": [{"parts": [{"text": "x"}]}]})),
            None
        );
        assert_eq!(
            normalize_request(b"{functionCall", &mut Scratch::default()),
            None
        );
    }
}
