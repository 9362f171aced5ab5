//! The configuration as requests use it: immutable, replaced as a whole by a reload.

pub(crate) mod experiment;
pub(crate) mod mirror;
pub(crate) mod model;
pub(crate) mod provider;
pub(crate) mod registry;
pub(crate) mod rule;
pub(crate) mod snapshot;
pub(crate) mod target;
