//! Texts become vectors in this process: the model, its threads, the vector indexes.

pub(crate) mod card;
pub mod codes;
pub(crate) mod encoder;
pub(crate) mod graph;
pub mod index;
pub(crate) mod library;
pub mod pool;
pub mod static_index;
pub mod table;
#[cfg(test)]
mod tests;
pub(crate) mod worker;
