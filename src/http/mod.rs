//! HTTP/1.1, server-sent events and AWS's event stream as pure functions over bytes.
//!
//! No sockets, no clock, nothing of the rest of Ringside. Strict by a table (see [`framing`]): what two
//! parsers could read as two different messages is refused.

pub mod chunked;
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
