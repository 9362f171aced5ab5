//! The load generator: closed loop, or a fixed rate with latency counted from the intended send time.

pub mod client;
pub mod plan;
pub mod report;
mod run;

pub use plan::Plan;
pub use report::Report;
pub use run::run;
