//! JSON, multipart and byte edits, shared by all wire formats.

pub mod document;
pub(crate) mod multipart;
pub(crate) mod name_map;
pub(crate) mod number_texts;
pub mod size;
pub(crate) mod splice;
pub(crate) mod write;
