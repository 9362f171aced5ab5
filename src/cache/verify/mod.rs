//! Whether a stored response may be served for a question: rules and a learned model.

pub(crate) mod alignment;
pub mod features;
pub(crate) mod lists;
pub mod model;
pub mod rules;
pub mod verify;
pub mod words;
