//! A provider that does as it is told, in OpenAI's dialect, in Anthropic's and in Google's.
//!
//! Answers carry an id derived from the question, so that an answer to another question can be seen.

pub mod answer;
pub mod behaviour;
mod control;
mod gemini;
mod messages;
mod read;
mod respond;
pub mod retry;
pub mod script;
mod serve;
pub mod settings;
mod state;

pub use serve::{Mock, run};
