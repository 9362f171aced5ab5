//! Names and constants that both sides of Gemini's API share.

use crate::protocols::neutral::response::Stop;

/// The API's name in the configuration.
pub(crate) const NAME: &str = "gemini";

/// Replaces a required signature that is missing, for calls that another model made (Google's page on thought
/// signatures).
pub(crate) const NO_SEAL: &str = "skip_thought_signature_validator";

/// Each `finishReason` and its meaning; the first one of a meaning is written.
pub(crate) const FINISH_REASONS: [(&str, Stop); 20] = [
    ("", Stop::End),
    ("STOP", Stop::End),
    ("MAX_TOKENS", Stop::Length),
    ("SAFETY", Stop::Refused),
    ("RECITATION", Stop::Refused),
    ("LANGUAGE", Stop::Refused),
    ("BLOCKLIST", Stop::Refused),
    ("PROHIBITED_CONTENT", Stop::Refused),
    ("SPII", Stop::Refused),
    ("MODEL_ARMOR", Stop::Refused),
    ("IMAGE_SAFETY", Stop::Refused),
    ("IMAGE_PROHIBITED_CONTENT", Stop::Refused),
    ("IMAGE_RECITATION", Stop::Refused),
    ("OTHER", Stop::Refused),
    ("MALFORMED_FUNCTION_CALL", Stop::Failed),
    ("UNEXPECTED_TOOL_CALL", Stop::Failed),
    ("TOO_MANY_TOOL_CALLS", Stop::Failed),
    ("MISSING_THOUGHT_SIGNATURE", Stop::Failed),
    ("MALFORMED_RESPONSE", Stop::Failed),
    ("NO_IMAGE", Stop::Failed),
];

/// Statuses and Google's names for them (`google.rpc.Code`, and its mapping to HTTP).
pub(crate) const ERROR_STATUSES: [(u16, &str); 11] = [
    (400, "INVALID_ARGUMENT"),
    (401, "UNAUTHENTICATED"),
    (403, "PERMISSION_DENIED"),
    (404, "NOT_FOUND"),
    (409, "ABORTED"),
    (429, "RESOURCE_EXHAUSTED"),
    (499, "CANCELLED"),
    (500, "INTERNAL"),
    (501, "UNIMPLEMENTED"),
    (503, "UNAVAILABLE"),
    (504, "DEADLINE_EXCEEDED"),
];
