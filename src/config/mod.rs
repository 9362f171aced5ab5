//! One TOML file becomes validated values, or a list of everything wrong with it.

#[cfg(test)]
mod bad_input_tests;
pub mod defaults;
#[cfg(test)]
mod example_tests;
pub(crate) mod limits;
pub(crate) mod load;
pub mod model;
pub(crate) mod problem;
pub mod provider_family;
pub(crate) mod reader;
pub(crate) mod references;
pub(crate) mod sections;
pub(crate) mod values;
