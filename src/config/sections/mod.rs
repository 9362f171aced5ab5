//! How each section of the file is read.

pub(crate) mod admission;
pub(crate) mod auth;
pub(crate) mod experiment;
pub(crate) mod failover;
pub(crate) mod file;
pub(crate) mod lists;
pub(crate) mod mirror;
pub(crate) mod prices;
pub(crate) mod rules;
