//! The client side: requests read, responses, streams and errors written.

pub(crate) mod api;
pub(crate) mod errors;
pub(crate) mod request;
pub(crate) mod response;
pub(crate) mod response_ids;
pub(crate) mod stored_responses;
pub(crate) mod stream;
