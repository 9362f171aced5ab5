//! Names and constants that both sides of OpenAI's chat completions share.

use crate::protocols::neutral::response::Stop;

/// The dialect's name.
pub(crate) const NAME: &str = "openai";

/// `finish_reason`s, each with what it means; the first of a meaning is the one written.
pub(crate) const FINISH_REASONS: [(&str, Stop); 10] = [
    ("stop", Stop::End),
    ("stop", Stop::Sequence),
    ("length", Stop::Length),
    ("length", Stop::WindowFull),
    ("tool_calls", Stop::ToolCalls),
    ("function_call", Stop::ToolCalls),
    ("content_filter", Stop::Refused),
    ("stop", Stop::Paused),
    // Mistral's (wire facts of its platform documentation).
    ("model_length", Stop::WindowFull),
    // DeepSeek's: it was interrupted for want of resources.
    ("insufficient_system_resource", Stop::Length),
];

/// The `finish_reason` for why an answer ended.
#[must_use]
pub(crate) fn finish_reason(stop: Stop) -> &'static str {
    let found = FINISH_REASONS.iter().find(|(_, meaning)| *meaning == stop);
    found.map_or("stop", |(name, _)| *name)
}
