//! Experiments on live traffic: mirroring, samples of cache hits, background requests.

pub(crate) mod background;
pub(crate) mod hit_sampling;
pub(crate) mod mirroring;
pub(crate) mod sampled_request;
