//! Cohere's API v2.

pub(crate) mod provider;
