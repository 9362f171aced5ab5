//! Names and constants that both sides of Anthropic's Messages share.

use crate::protocols::neutral::response::Stop;

/// The API's name in the configuration.
pub(crate) const NAME: &str = "anthropic";

/// The header in which Anthropic's clients send the API version; other clients do not send it.
pub(crate) const VERSION_HEADER: &str = "anthropic-version";

/// The API version for requests whose client sends none (Anthropic's page on versions; the only version so far).
pub(crate) const VERSION: &str = "2023-06-01";

/// Each `stop_reason` and its meaning.
pub(crate) const STOP_REASONS: [(&str, Stop); 7] = [
    ("end_turn", Stop::End),
    ("stop_sequence", Stop::Sequence),
    ("max_tokens", Stop::Length),
    ("model_context_window_exceeded", Stop::WindowFull),
    ("tool_use", Stop::ToolCalls),
    ("refusal", Stop::Refused),
    ("pause_turn", Stop::Paused),
];

/// Anthropic's error type for a status (its API's list of errors).
#[must_use]
pub(crate) fn error_type(status: u16) -> &'static str {
    match status {
        401 => "authentication_error",
        402 => "billing_error",
        403 => "permission_error",
        404 => "not_found_error",
        413 => "request_too_large",
        429 => "rate_limit_error",
        400..=499 => "invalid_request_error",
        504 => "timeout_error",
        529 => "overloaded_error",
        _ => "api_error",
    }
}

/// The name under which a dropped prompt-cache marker is reported.
pub(crate) const CACHE_MARKER: &str = "cache_control";
