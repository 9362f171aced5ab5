//! HTTP/1.1, server-sent events and AWS's event stream as pure functions over bytes.
//!
//! It must not know sockets, the clock or any other part of Ringside. It is strict (see [`framing`]): input that two
//! parsers could read as two different messages is rejected.

pub mod chunked;
pub(crate) mod cross_site;
pub mod encode;
pub mod event_stream;
pub mod framing;
pub mod head;
pub mod limits;
pub mod percent;
pub mod reject;
pub(crate) mod retry_after;
pub(crate) mod scan;
pub mod sse;
