//! The load generator: closed loop, or a fixed or changing rate with latency counted from the
//! intended send time.

pub mod check;
pub mod client;
pub mod compare;
pub mod html;
pub mod measure;
pub mod options;
pub mod pace;
pub mod plan;
pub mod progress;
pub mod prompts;
pub mod report;
mod run;
pub mod scenario;
pub mod svg;
pub mod target;
mod turns;

pub use compare::{Comparison, compare};
pub use plan::Plan;
pub use report::Report;
