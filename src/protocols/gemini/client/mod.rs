//! The client side: reads requests, and writes responses, streams and errors.

pub(crate) mod api;
pub(crate) mod errors;
pub(crate) mod fields;
pub(crate) mod paths;
pub(crate) mod prepare;
pub(crate) mod request;
pub(crate) mod request_head;
pub(crate) mod response;
pub(crate) mod stream;
pub(crate) mod waiting_calls;
