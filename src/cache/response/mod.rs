//! The stored form of a response: read from whole responses and streams, written as either.

pub mod cached_response;
pub(crate) mod from_events;
pub mod from_stream;
pub mod not_stored;
pub(crate) mod replay;
