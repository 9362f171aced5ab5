//! Google's error envelope (`google.rpc.Status`).

use crate::error::code::ErrorCode;
use crate::error::gateway_error::GatewayError;
use crate::protocols::gemini::vocabulary::ERROR_STATUSES;
use crate::protocols::json::write::{number, open, open_field, text};
use crate::protocols::neutral::response::{ProviderError, redacted};

/// Google's name for a status.
pub(crate) fn error_status(status: u16) -> &'static str {
    let known = ERROR_STATUSES.iter().find(|(code, _)| *code == status);
    match known {
        Some((_, name)) => name,
        None if status < 500 => "INVALID_ARGUMENT",
        None => "UNAVAILABLE",
    }
}

/// Appends the error detail with the reason (`google.rpc.ErrorInfo`).
pub(crate) fn write_reason(reason: &str, field: Option<&str>, out: &mut Vec<u8>) {
    open_field(out, "details", b'[');
    open(out, b'{');
    text(out, "@type", "type.googleapis.com/google.rpc.ErrorInfo");
    text(out, "reason", reason);
    text(out, "domain", "ringside");
    if let Some(field) = field {
        open_field(out, "metadata", b'{');
        text(out, "field", field);
        out.push(b'}');
    }
    out.extend_from_slice(b"}]");
}

pub(crate) fn bad(field: &str, what: &str) -> GatewayError {
    GatewayError::new(ErrorCode::InvalidRequest, format!("`{field}` {what}")).on(field.to_owned())
}

/// Appends a provider's error as a Google error body; the provider's own error type becomes the reason.
pub(crate) fn write_provider_error(failure: &ProviderError<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"error\":{");
    number(out, "code", u64::from(failure.status));
    text(out, "message", &redacted(&failure.message));
    text(out, "status", error_status(failure.status));
    let reason = match failure.window_exceeded {
        true => "context_length_exceeded",
        false => failure.kind.unwrap_or("provider_error"),
    };
    write_reason(reason, failure.param, out);
    out.extend_from_slice(b"}}");
}
