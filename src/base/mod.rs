//! Plain types and functions that every other folder may use: interned names, request ids, random numbers, statistics.
//! It must not know requests, configuration or sockets.

pub(crate) mod confidence_sequence;
#[cfg(test)]
pub(crate) mod generated_docs;
pub mod key_priority;
pub mod names;
pub mod random;
pub(crate) mod request_ids;
pub(crate) mod statistics;
