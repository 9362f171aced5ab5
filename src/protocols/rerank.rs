//! `POST /v1/rerank` and `/v2/rerank`, in the form of Cohere, Jina and similar servers: reads the fields of requests
//! and responses that the gateway needs.

use crate::error::code::ErrorCode;
use crate::error::gateway_error::GatewayError;
use crate::protocols::json::document::Scratch;
use crate::protocols::request::top_level::read_top;
use serde::Deserialize;
use std::ops::Range;

/// The fields of a rerank request that routing needs.
#[derive(Debug, Clone)]
pub(crate) struct RerankRequest {
    /// The requested model.
    pub model: String,
    /// The range of the model's name in the body, without its quotes.
    pub model_range: Range<usize>,
}

/// Reads the fields that routing needs.
///
/// # Errors
/// 400 that names the position or the field.
pub(crate) fn read_rerank(
    body: &[u8],
    scratch: &mut Scratch,
) -> Result<RerankRequest, GatewayError> {
    scratch
        .with_document(body, |document| {
            let top = read_top(body, document)?;
            for name in ["query", "documents"] {
                if document.field(0, name).is_none() {
                    let message = format!("`{name}` is missing");
                    return Err(GatewayError::new(ErrorCode::InvalidRequest, message).on(name));
                }
            }
            Ok(RerankRequest {
                model: top.model,
                model_range: top.model_range,
            })
        })
        .map_err(|bad| GatewayError::new(ErrorCode::InvalidJson, bad.message))?
}

/// The billed search units of a response, if the provider reports them (Cohere: `meta.billed_units.search_units`).
#[must_use]
pub(crate) fn search_units(body: &[u8]) -> Option<u64> {
    #[derive(Deserialize)]
    struct Body {
        meta: Meta,
    }
    #[derive(Deserialize)]
    struct Meta {
        billed_units: Units,
    }
    #[derive(Deserialize)]
    struct Units {
        // The API writes both 1 and 1.0.
        search_units: f64,
    }
    let response: Body = serde_json::from_slice(body).ok()?;
    let units = response.meta.billed_units.search_units;
    (units >= 0.0).then_some(units.ceil() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_names_model_query_and_documents() {
        let read = |json: &str| read_rerank(json.as_bytes(), &mut Scratch::default());
        let good = r#"{"query":"q","documents":["a"],"model":"m"}"#;
        let request = read(good).unwrap();
        assert_eq!((&request.model[..], &good[request.model_range]), ("m", "m"));
        for (json, param) in [
            (r#"{"query":"q","documents":["a"]}"#, "model"),
            (r#"{"model":"m","documents":["a"]}"#, "query"),
            (r#"{"model":"m","query":"q"}"#, "documents"),
        ] {
            assert_eq!(read(json).unwrap_err().param.as_deref(), Some(param));
        }
    }

    #[test]
    fn search_units_are_found_where_they_are_reported() {
        let body = br#"{"results":[],"meta":{"billed_units":{"search_units":2.0}}}"#;
        assert_eq!(search_units(body), Some(2));
        assert_eq!(search_units(br#"{"usage":{"total_tokens":5}}"#), None);
        assert_eq!(search_units(b"[]"), None);
    }
}
