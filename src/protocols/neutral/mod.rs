//! The neutral form of chat requests, responses and stream events, between the client APIs and the provider APIs. It
//! is used only if client and provider have different wire formats; see ADR 029.
//!
//! It borrows from the parsed document and holds no JSON tree. It must not know any wire format.

pub(crate) mod event;
pub(crate) mod request;
pub(crate) mod response;
pub(crate) mod tool_arguments;
pub(crate) mod turns;
pub mod unsupported_fields;
