//! The client side: requests read, responses, streams and errors written.

pub(crate) mod api;
pub(crate) mod request;
pub(crate) mod response;
pub(crate) mod stream;
