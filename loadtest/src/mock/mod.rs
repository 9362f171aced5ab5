//! A provider that does as it is told, in OpenAI's dialect and in Anthropic's.
//!
//! Answers carry an id derived from the question, so that an answer to another question can be seen.

pub mod answer;
pub mod behaviour;
mod control;
mod messages;
pub mod retry;
pub mod script;
mod serve;
pub mod settings;
mod state;

pub use serve::{Mock, run};
