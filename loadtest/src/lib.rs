//! The load tools: a mock provider and a load generator, on Ringside's own runtime and codec.

pub mod load;
pub mod mock;
