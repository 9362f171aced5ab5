//! One upstream call that several identical requests share, on whatever core they are.

pub(crate) mod call_end;
#[cfg(test)]
mod interleaving_tests;
mod readers;
pub(crate) mod shared_call;
pub(crate) mod shared_calls;
pub(crate) mod stream_buffer;
