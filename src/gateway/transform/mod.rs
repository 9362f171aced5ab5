//! Bytes of a provider's response in, bytes for the client out: pure transformations. They must not know connections,
//! targets, or the context of a request.

pub(crate) mod event_template;
pub(crate) mod first_event;
pub(crate) mod id_sealing;
pub(crate) mod json_array;
pub mod neutral_relay;
pub mod relay;
pub mod stream_relay;
pub mod translate_body;
