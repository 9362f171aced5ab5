//! The one form in the middle: what a chat request, an answer and a stream's event mean, in no one's
//! dialect. Used only where the caller's dialect is not the provider's; see ADR 029.
//!
//! It borrows from the document it was read from and holds no JSON tree. It must not know any dialect.

mod answer;
mod event;
mod loss;
mod request;
mod turns;

pub use answer::{Answer, Choice, Failure, Stop, Usage, redacted};
pub use event::{Delta, Event, Kind, Start};
pub use loss::Losses;
pub use request::{
    Format, Message, Part, Reasoning, Request, Role, Sampling, Source, Tool, ToolChoice,
};
pub use turns::write_turns;
