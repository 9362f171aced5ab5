//! One upstream call that several identical requests share, on whatever core they are.

pub(crate) mod shared_call;
pub(crate) mod shared_calls;
