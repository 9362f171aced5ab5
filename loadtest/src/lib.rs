//! The load tools: a mock provider and a load generator, on Ringside's own runtime and codec.

pub mod delay;
pub mod load;
pub mod mock;
pub mod random;
pub mod toml_file;
pub mod units;
