//! The threads that write entries to the cache's folder and recover them at the next start.

pub(crate) mod loader;
pub(crate) mod start;
#[cfg(test)]
mod tests;
pub(crate) mod tiers;
pub(crate) mod writer;
