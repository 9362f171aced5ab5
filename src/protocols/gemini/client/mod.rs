//! The client side: requests read, responses, streams and errors written.

pub(crate) mod answer;
pub(crate) mod api;
pub(crate) mod head;
pub(crate) mod prepare;
pub(crate) mod request;
pub(crate) mod stream;
