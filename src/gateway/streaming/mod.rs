//! Responses on their way to the client: streams, raw bodies, uploads.

pub(crate) mod buffered_response;
pub(crate) mod client_stream;
pub(crate) mod detached_stream;
pub(crate) mod event_writer;
pub(crate) mod raw_body;
pub(crate) mod response_sinks;
pub(crate) mod shared_stream;
pub(crate) mod stream_end;
pub(crate) mod stream_response;
pub(crate) mod upload;
pub(crate) mod upstream_stream;
