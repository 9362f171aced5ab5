//! Google's Gemini API.

pub(crate) mod client;
pub(crate) mod provider;
pub(crate) mod vocabulary;
