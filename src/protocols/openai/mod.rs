//! OpenAI's chat completions, and the endpoints that share its conventions.

pub(crate) mod client;
pub mod embeddings;
pub(crate) mod errors;
pub mod model_list;
pub(crate) mod provider;
pub(crate) mod vocabulary;
