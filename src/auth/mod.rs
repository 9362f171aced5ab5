//! Authentication of callers, and what they may use.
//!
//! Pure: the credentials and the peer are passed in. It must not know HTTP.

pub mod keys;
pub(crate) mod response_ids;
