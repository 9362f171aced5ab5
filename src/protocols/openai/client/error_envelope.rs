//! OpenAI's error envelope: `{"error":{"message","type","param","code"}}`.

use crate::error::class::ErrorSource;
use crate::error::gateway_error::GatewayError;

/// The body of a response that reports `error`.
#[must_use]
pub(crate) fn error_envelope(error: &GatewayError) -> String {
    serde_json::json!({
        "error": {
            "message": error.message,
            "type": error_type(error),
            "param": error.param,
            "code": error.code.as_str(),
        }
    })
    .to_string()
}

/// OpenAI's type of error for a status; `upstream_error` is Ringside's own.
fn error_type(error: &GatewayError) -> &'static str {
    match error.status {
        401 => "authentication_error",
        403 => "permission_error",
        429 => "rate_limit_error",
        400..=499 => "invalid_request_error",
        _ if error.source == ErrorSource::Upstream => "upstream_error",
        _ => "server_error",
    }
}
