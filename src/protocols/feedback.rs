//! `POST /v1/feedback`: an application's rating of a response.

use crate::error::code::ErrorCode;
use crate::error::gateway_error::GatewayError;
use crate::protocols::json::document::Scratch;

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Feedback {
    /// The `x-request-id` of the rated response.
    pub request_id: String,
    /// From -1 (bad) to 1 (good).
    pub score: f64,
}

/// Reads `request_id` with either `score`, from -1 to 1, or `thumbs`, `up` or `down`.
///
/// # Errors
/// 400 that names the field.
pub(crate) fn read_feedback(body: &[u8], scratch: &mut Scratch) -> Result<Feedback, GatewayError> {
    let invalid = |param: &'static str, message: &str| {
        GatewayError::new(ErrorCode::InvalidRequest, message.to_owned()).on(param)
    };
    let read = scratch.with_document(body, |document| {
        let fields = document
            .root_fields()
            .ok_or_else(|| GatewayError::new(ErrorCode::InvalidJson, "the body must be a JSON object"))?;
        let (mut request_id, mut score) = (None, None);
        for (name, at) in fields {
            match name {
                "request_id" if request_id.is_none() => request_id = document.text(at),
                "score" if score.is_none() => {
                    let number = document.number(at);
                    let number = number.filter(|number| (-1.0..=1.0).contains(number));
                    score = Some(number.ok_or_else(|| {
                        invalid("score", "`score` must be a number from -1 to 1")
                    })?);
                }
                "thumbs" if score.is_none() => {
                    score = Some(match document.text(at) {
                        Some("up") => 1.0,
                        Some("down") => -1.0,
                        _ => return Err(invalid("thumbs", "`thumbs` must be \"up\" or \"down\"")),
                    });
                }
                _ => {
                    let message = format!(
                        "`{name}` is unknown or repeated; give `request_id` and either `score` or `thumbs`"
                    );
                    return Err(GatewayError::new(ErrorCode::InvalidRequest, message));
                }
            }
        }
        let missing = "`request_id` must be the `x-request-id` of the response";
        let request_id = request_id.ok_or_else(|| invalid("request_id", missing))?;
        let score = score.ok_or_else(|| invalid("score", "`score` or `thumbs` is missing"))?;
        Ok(Feedback {
            request_id: request_id.to_owned(),
            score,
        })
    });
    read.map_err(|bad| GatewayError::new(ErrorCode::InvalidJson, bad.message))?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratings_are_read_strictly() {
        let read = |json: &str| read_feedback(json.as_bytes(), &mut Scratch::default());
        let score = |json: &str| read(json).map(|feedback| feedback.score).ok();
        assert_eq!(score(r#"{"request_id":"a","score":-0.5}"#), Some(-0.5));
        assert_eq!(score(r#"{"thumbs":"up","request_id":"a"}"#), Some(1.0));
        assert_eq!(score(r#"{"thumbs":"down","request_id":"a"}"#), Some(-1.0));
        for bad in [
            r#"{"request_id":"a"}"#,
            r#"{"score":1}"#,
            r#"{"request_id":"a","score":1.5}"#,
            r#"{"request_id":"a","score":"1"}"#,
            r#"{"request_id":"a","score":1,"thumbs":"up"}"#,
            r#"{"request_id":"a","score":1,"scale":5}"#,
            r#"{"request_id":1,"score":1}"#,
            r#"["a",1]"#,
            r#"{"#,
        ] {
            assert_eq!(read(bad).map_err(|error| error.status), Err(400), "{bad}");
        }
    }
}
