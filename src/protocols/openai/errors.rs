//! OpenAI's error bodies, for chat completions and Responses.

use crate::error::class::ErrorSource;
use crate::error::gateway_error::GatewayError;
use crate::protocols::json::document::{write_string, write_u64};
use crate::protocols::json::write::{key, open_field, raw, text};
use crate::protocols::neutral::response::{ProviderError, redacted};

/// Appends a provider's error as an OpenAI error body. The provider's own error type is reported under `metadata`.
pub(crate) fn write_provider_error(failure: &ProviderError<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"error\":{");
    text(out, "message", &redacted(&failure.message));
    text(out, "type", kind(failure.status));
    match failure.param {
        Some(param) => text(out, "param", param),
        None => raw(out, "param", "null"),
    }
    if failure.window_exceeded {
        text(out, "code", "context_length_exceeded");
    } else {
        match failure.kind {
            Some(kind) => text(out, "code", kind),
            None => raw(out, "code", "null"),
        }
    }
    open_field(out, "metadata", b'{');
    key(out, "provider_error");
    match failure.kind {
        Some(kind) => write_string(out, kind),
        None => write_u64(out, u64::from(failure.status)),
    }
    out.extend_from_slice(b"}}}");
}

/// OpenAI's error type for a status.
fn kind(status: u16) -> &'static str {
    match status {
        401 => "authentication_error",
        403 => "permission_error",
        429 => "rate_limit_error",
        400..=499 => "invalid_request_error",
        _ => "upstream_error",
    }
}

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

/// OpenAI's error type for an error of the gateway; `upstream_error` is Ringside's own.
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
