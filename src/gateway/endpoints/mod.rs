//! One file per endpoint besides chat.

pub(crate) mod count_tokens;
pub(crate) mod embeddings;
pub(crate) mod feedback;
pub(crate) mod passthrough;
pub(crate) mod provider_proxy;
pub(crate) mod rerank;
pub(crate) mod stored_responses;
