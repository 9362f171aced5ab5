//! Wire formats of clients and providers as pure translation, one folder each. It must not know sockets, clocks,
//! routing or the cache.

pub(crate) mod anthropic;
pub(crate) mod azure;
pub(crate) mod bedrock;
pub mod client_api;
pub(crate) mod cohere;
pub(crate) mod endpoints;
pub(crate) mod feedback;
pub(crate) mod forwarded_headers;
pub(crate) mod gemini;
pub(crate) mod google_cloud;
pub mod json;
pub mod neutral;
pub mod openai;
pub(crate) mod operation_kind;
pub mod outgoing_request;
pub(crate) mod passthrough;
pub mod provider_api;
pub(crate) mod provider_refusals;
pub mod registry;
pub mod request;
pub(crate) mod rerank;
pub(crate) mod responses;
pub mod status_class;
pub(crate) mod tool_calls_field;
pub mod usage;
