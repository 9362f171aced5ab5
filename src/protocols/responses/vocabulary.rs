//! Names that both sides of OpenAI's Responses share.

/// The API's name in the configuration.
pub(crate) const NAME: &str = "responses";
