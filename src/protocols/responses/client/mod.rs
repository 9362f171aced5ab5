//! The client side: requests read, responses, streams and errors written.

pub(crate) mod answer;
pub(crate) mod api;
pub(crate) mod ids;
pub(crate) mod request;
pub(crate) mod state;
pub(crate) mod stream;
