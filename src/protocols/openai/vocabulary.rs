//! Names and constants that both sides of OpenAI's chat completions share.

use crate::protocols::neutral::response::Stop;

/// The API's name in the configuration.
pub(crate) const NAME: &str = "openai";

/// Each `finish_reason` and its meaning; the first one of a meaning is written.
pub(crate) const FINISH_REASONS: [(&str, Stop); 10] = [
    ("stop", Stop::End),
    ("stop", Stop::Sequence),
    ("length", Stop::Length),
    ("length", Stop::WindowFull),
    ("tool_calls", Stop::ToolCalls),
    ("function_call", Stop::ToolCalls),
    ("content_filter", Stop::Refused),
    ("stop", Stop::Paused),
    // Mistral's (from its platform documentation).
    ("model_length", Stop::WindowFull),
    // DeepSeek's: the response was interrupted because resources ran out.
    ("insufficient_system_resource", Stop::Length),
];

/// The `finish_reason` of a stop reason.
#[must_use]
pub(crate) fn finish_reason(stop: Stop) -> &'static str {
    let found = FINISH_REASONS.iter().find(|(_, meaning)| *meaning == stop);
    found.map_or("stop", |(name, _)| *name)
}
