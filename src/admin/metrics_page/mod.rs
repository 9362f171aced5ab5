//! `/metrics`: the numbers of all cores and of what they share, in Prometheus text format.

pub(crate) mod disk;
pub(crate) mod mirror;
pub(crate) mod page;
pub(crate) mod quality;
