//! Reads one TOML file into validated values, or into a list of everything wrong with it.

#[cfg(test)]
mod bad_input_tests;
pub(crate) mod base_url;
pub(crate) mod context;
pub(crate) mod documentation;
#[cfg(test)]
mod example_tests;
pub(crate) mod key;
pub(crate) mod limits;
pub mod listen;
pub(crate) mod load;
pub(crate) mod names;
pub(crate) mod notation;
pub(crate) mod problem;
pub mod provider_family;
pub(crate) mod reader;
pub(crate) mod references;
pub(crate) mod report;
pub mod root;
pub(crate) mod secret;
pub mod sections;
pub(crate) mod settings;
pub(crate) mod suggest;
pub(crate) mod values;
