//! Who may call, and what.
//!
//! Pure: it is handed the credentials and the peer, and says yes or why not.

pub mod keys;
pub(crate) mod response_ids;
