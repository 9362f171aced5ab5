//! Turns texts into vectors in this process: the model, its threads, the vector indexes.
//! It must not know requests or the cache.

pub(crate) mod card;
pub mod codes;
pub mod embed_result;
pub(crate) mod encoder;
pub(crate) mod graph;
pub mod index;
pub(crate) mod library;
pub mod pool;
pub mod settings;
pub mod static_index;
pub mod status;
pub mod table;
#[cfg(test)]
mod tests;
pub mod vector;
pub(crate) mod worker;
