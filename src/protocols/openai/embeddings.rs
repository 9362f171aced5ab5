//! `POST /v1/embeddings`: reads a request, and writes the response if the local model serves it.

use crate::error::code::ErrorCode;
use crate::error::gateway_error::GatewayError;
use crate::protocols::json::document::{Scratch, write_string, write_u64};
use crate::protocols::request::top_level::read_top;
use base64::Engine;
use std::ops::Range;

/// Most texts of one request to the local model.
pub const INPUTS_MAX: usize = 256;

/// The fields of an embedding request that routing needs.
#[derive(Debug, Clone)]
pub struct EmbeddingsRequest {
    /// The requested model.
    pub model: String,
    /// The range of the model's name in the body, without its quotes.
    pub model_range: Range<usize>,
}

/// The fields of an embedding request that the local model needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalRequest {
    /// The texts.
    pub inputs: Vec<String>,
    /// Whether `encoding_format` is `base64`.
    pub base64: bool,
}

/// Reads the fields that routing needs.
///
/// # Errors
/// 400 that names the position or the field.
pub fn read_embeddings(
    body: &[u8],
    scratch: &mut Scratch,
) -> Result<EmbeddingsRequest, GatewayError> {
    scratch
        .with_document(body, |document| {
            let top = read_top(body, document)?;
            Ok(EmbeddingsRequest {
                model: top.model,
                model_range: top.model_range,
            })
        })
        .map_err(|bad| GatewayError::new(ErrorCode::InvalidJson, bad.message))?
}

/// Reads the fields that the local model needs. `dimensions` is its number of dimensions.
///
/// # Errors
/// 400 that names the field.
pub fn read_local(
    body: &[u8],
    scratch: &mut Scratch,
    dimensions: usize,
) -> Result<LocalRequest, GatewayError> {
    let invalid = |param: &'static str, message: String| {
        Err(GatewayError::new(ErrorCode::InvalidRequest, message).on(param))
    };
    scratch
        .with_document(body, |document| {
            if let Some(at) = document.field(0, "dimensions")
                && !document.is_null(at)
                && document.unsigned(at) != Some(dimensions as u64)
            {
                return invalid(
                    "dimensions",
                    format!("the local model has {dimensions} dimensions and cannot shorten them"),
                );
            }
            let format = document
                .field(0, "encoding_format")
                .filter(|at| !document.is_null(*at));
            let base64 = match format.map(|at| document.text(at)) {
                None | Some(Some("float")) => false,
                Some(Some("base64")) => true,
                Some(_) => {
                    return invalid(
                        "encoding_format",
                        "`encoding_format` must be \"float\" or \"base64\"".into(),
                    );
                }
            };
            let Some(input) = document.field(0, "input") else {
                return invalid("input", "`input` is missing".into());
            };
            let inputs = match (document.text(input), document.elements(input)) {
                (Some(text), _) => vec![text.to_owned()],
                (None, Some(elements)) => {
                    let texts: Option<Vec<String>> = elements
                        .map(|at| document.text(at).map(str::to_owned))
                        .collect();
                    match texts {
                        Some(texts) => texts,
                        None => return invalid(
                            "input",
                            "the local model accepts a string or an array of strings, not token ids"
                                .into(),
                        ),
                    }
                }
                (None, None) => {
                    return invalid("input", "`input` must be a string or an array".into());
                }
            };
            if inputs.is_empty() || inputs.len() > INPUTS_MAX {
                return invalid(
                    "input",
                    format!(
                        "`input` must contain 1 to {INPUTS_MAX} texts, here {}",
                        inputs.len()
                    ),
                );
            }
            Ok(LocalRequest { inputs, base64 })
        })
        .map_err(|bad| GatewayError::new(ErrorCode::InvalidJson, bad.message))?
}

/// The response in OpenAI's form.
#[must_use]
pub fn write_response(
    model: &str,
    vectors: &[impl AsRef<[f32]>],
    tokens: u64,
    base64: bool,
) -> Vec<u8> {
    let mut out = b"{\"object\":\"list\",\"data\":[".to_vec();
    for (at, vector) in vectors.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        out.extend_from_slice(b"{\"object\":\"embedding\",\"index\":");
        write_u64(&mut out, at as u64);
        out.extend_from_slice(b",\"embedding\":");
        if base64 {
            let bytes: Vec<u8> = vector
                .as_ref()
                .iter()
                .flat_map(|value| value.to_le_bytes())
                .collect();
            write_string(
                &mut out,
                &base64::engine::general_purpose::STANDARD.encode(bytes),
            );
        } else {
            let numbers: Vec<String> = vector.as_ref().iter().map(f32::to_string).collect();
            out.push(b'[');
            out.extend_from_slice(numbers.join(",").as_bytes());
            out.push(b']');
        }
        out.push(b'}');
    }
    out.extend_from_slice(b"],\"model\":");
    write_string(&mut out, model);
    out.extend_from_slice(b",\"usage\":{\"prompt_tokens\":");
    write_u64(&mut out, tokens);
    out.extend_from_slice(b",\"total_tokens\":");
    write_u64(&mut out, tokens);
    out.extend_from_slice(b"}}");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn local_requests() {
        let mut scratch = Scratch::default();
        let read = |json: &str, scratch: &mut Scratch| read_local(json.as_bytes(), scratch, 384);
        assert_eq!(
            read(r#"{"input":"a","encoding_format":"base64"}"#, &mut scratch).unwrap(),
            LocalRequest {
                inputs: vec!["a".into()],
                base64: true
            }
        );
        assert_eq!(
            read(r#"{"input":["a","b"],"dimensions":384}"#, &mut scratch)
                .unwrap()
                .inputs
                .len(),
            2
        );
        for (json, param) in [
            (r#"{"input":[1,2]}"#, "input"),
            (r#"{"input":[]}"#, "input"),
            (r#"{}"#, "input"),
            (r#"{"input":"a","dimensions":5}"#, "dimensions"),
            (
                r#"{"input":"a","encoding_format":"hex"}"#,
                "encoding_format",
            ),
        ] {
            let error = read(json, &mut scratch).unwrap_err();
            assert_eq!(error.param.as_deref(), Some(param), "{json}");
        }
    }

    #[test]
    fn both_encodings_carry_the_same_numbers() {
        let vectors = [vec![0.25f32, -1.5]];
        let float: serde_json::Value =
            serde_json::from_slice(&write_response("m", &vectors, 3, false)).unwrap();
        assert_eq!(float["data"][0]["embedding"][1], -1.5);
        assert_eq!(float["usage"]["prompt_tokens"], 3);
        let coded: serde_json::Value =
            serde_json::from_slice(&write_response("m", &vectors, 3, true)).unwrap();
        let bytes = base64::engine::general_purpose::STANDARD
            .decode(coded["data"][0]["embedding"].as_str().unwrap())
            .unwrap();
        assert_eq!(
            bytes,
            [0.25f32.to_le_bytes(), (-1.5f32).to_le_bytes()].concat()
        );
    }
}
