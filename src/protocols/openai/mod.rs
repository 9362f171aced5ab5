//! OpenAI's chat completions, and the endpoints that share its conventions.

pub mod chat_head;
pub(crate) mod client;
pub mod embeddings;
pub mod models;
pub(crate) mod provider;
pub(crate) mod routing_fields;
