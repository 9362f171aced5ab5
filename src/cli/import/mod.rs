//! `ringside import`: another gateway's configuration becomes a `ringside.toml`.

pub(crate) mod deployments;
pub(crate) mod imported;
pub mod litellm;
pub(crate) mod toml_values;
pub(crate) mod vendors;
pub(crate) mod yaml;
