//! Endpoints other than chat, each in a file of its own, and what they share.

pub(crate) mod authenticated_request;
pub(crate) mod count_tokens;
pub(crate) mod embeddings;
pub(crate) mod feedback;
pub(crate) mod models;
pub(crate) mod passthrough;
pub(crate) mod provider_proxy;
pub(crate) mod proxy_headers;
pub(crate) mod proxy_request;
pub(crate) mod rerank;
pub(crate) mod stored_responses;
