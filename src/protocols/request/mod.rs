//! Reads the fields of a request that the gateway needs, in any wire format: model, size, requirements, canonical
//! form.

pub mod canonical_request;
pub mod chat_request;
pub(crate) mod request_shape;
pub(crate) mod routing_fields;
pub mod stored_state;
pub(crate) mod top_level;
