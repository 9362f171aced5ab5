//! Errors on their way to a client: the table of codes, and the error that carries one.
//!
//! It must not know requests, protocols or how an envelope is written.

pub mod class;
pub mod code;
pub mod gateway_error;
