//! The one form in the middle: what a chat request, an answer and a stream's event mean, in no one's
//! dialect. Used only where the caller's dialect is not the provider's; see ADR 029.
//!
//! It borrows from the document it was read from and holds no JSON tree. It must not know any dialect.

pub(crate) mod event;
pub(crate) mod request;
pub(crate) mod response;
pub(crate) mod tool_arguments;
pub(crate) mod turns;
pub mod unsupported_fields;
