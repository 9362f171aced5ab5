//! The provider side: requests written, responses, streams and errors read.

pub(crate) mod api;
pub(crate) mod content;
pub(crate) mod request;
pub(crate) mod response;
pub(crate) mod stream;
pub(crate) mod vocabulary;
