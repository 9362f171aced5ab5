//! The cache on a request's path: look-up, store, coalescing, stale responses, sampling of hits.

pub(crate) mod coalesce;
pub(crate) mod hit_sampling;
pub(crate) mod lookup;
pub(crate) mod observe;
pub(crate) mod serve_hit;
pub(crate) mod stale;
