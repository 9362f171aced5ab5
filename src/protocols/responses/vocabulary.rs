//! Names that both sides of OpenAI's Responses share.

/// The dialect's name.
pub(crate) const NAME: &str = "responses";
