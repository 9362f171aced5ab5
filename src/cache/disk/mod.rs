//! Entries that outlive the process.

pub(crate) mod bytes;
pub(crate) mod disk_cache;
pub(crate) mod folder;
pub(crate) mod loader;
pub(crate) mod record;
#[cfg(test)]
mod tests;
pub(crate) mod writer;
