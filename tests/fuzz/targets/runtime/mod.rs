//! The part of the runtime that signatures use, which runs nothing.

#[path = "../../../../src/runtime/date.rs"]
#[allow(dead_code, reason = "a target uses a part of the file")]
pub mod date;
