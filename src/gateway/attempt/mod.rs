//! Upstream attempts: the loop over targets, one call to one target, hedging, queueing, classification.

pub(crate) mod attempt_error;
pub(crate) mod attempt_guard;
pub(crate) mod attempt_loop;
pub(crate) mod attempt_plan;
pub(crate) mod classify;
pub(crate) mod client_watch;
pub(crate) mod hedge;
pub(crate) mod queue;
pub(crate) mod read_response;
pub(crate) mod response;
pub(crate) mod response_body;
pub(crate) mod response_head;
pub(crate) mod send;
pub(crate) mod target_call;
pub(crate) mod translate;
