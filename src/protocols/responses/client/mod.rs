//! The client side: reads requests, and writes responses, streams and errors.

pub(crate) mod api;
pub(crate) mod errors;
pub(crate) mod request;
pub(crate) mod response;
pub(crate) mod response_ids;
pub(crate) mod stored_responses;
pub(crate) mod stream;
