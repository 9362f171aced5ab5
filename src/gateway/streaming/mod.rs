//! Responses on their way to the client: streams, raw bodies, uploads.

pub(crate) mod event_template;
pub(crate) mod first_event;
pub(crate) mod id_sealing;
pub(crate) mod json_array;
pub mod neutral_relay;
pub(crate) mod raw_body;
pub mod relay;
pub(crate) mod relay_response;
pub mod stream_relay;
pub mod translate_body;
pub(crate) mod upload;
pub(crate) mod upstream_stream;
