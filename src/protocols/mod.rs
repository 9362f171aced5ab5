//! Wire formats of clients and providers, as pure translation: one folder each. It must not know sockets,
//! clocks, routing or the cache.

pub(crate) mod anthropic;
pub(crate) mod azure;
pub(crate) mod bedrock;
pub mod client_api;
pub(crate) mod cohere;
pub(crate) mod endpoints;
pub(crate) mod feedback;
pub(crate) mod gemini;
pub mod json;
pub mod neutral;
pub mod openai;
pub(crate) mod operation_kind;
pub(crate) mod passthrough;
pub mod provider_api;
pub(crate) mod provider_refusals;
pub mod request;
pub(crate) mod rerank;
pub(crate) mod responses;
pub mod usage;
