//! Commands and modes of the binary besides `serve`.

pub mod demo;
pub mod import;
pub mod tune;
