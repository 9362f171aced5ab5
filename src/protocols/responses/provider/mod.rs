//! The provider side: writes requests, and reads responses, streams and errors.

pub(crate) mod api;
pub(crate) mod request;
pub(crate) mod response;
pub(crate) mod stream;
