//! OpenAI's Responses.

pub(crate) mod client;
pub(crate) mod provider;
pub(crate) mod vocabulary;
