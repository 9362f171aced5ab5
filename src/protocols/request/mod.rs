//! What the gateway must know of a request, whatever its wire format: model, size, needs, canonical form.

pub mod canonical_request;
pub mod chat_request;
pub(crate) mod request_shape;
pub(crate) mod routing_fields;
pub mod stored_state;
pub(crate) mod top_level;
