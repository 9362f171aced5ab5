//! The cache's part of a request: look-ups, storing, coalescing, stale responses.

pub(crate) mod active_session;
pub(crate) mod client_controls;
pub(crate) mod coalesce;
pub(crate) mod hit;
mod observe;
mod semantic_lookup;
pub(crate) mod serve_hit;
pub(crate) mod session;
pub(crate) mod stale;
mod store;
