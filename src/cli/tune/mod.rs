//! `ringside tune`: which setting of the semantic cache keeps a target error rate on labelled pairs.

pub(crate) mod page;
pub(crate) mod pairs;
pub(crate) mod settings;
pub(crate) mod table;
pub mod tune;
