//! Chooses the targets of a request and their order: health, measurements, limits, queues and policies. Times and random
//! numbers are passed in, so that tests run on a virtual clock. It must not know sockets or HTTP.

pub(crate) mod backoff;
pub(crate) mod budget;
pub(crate) mod canary;
pub(crate) mod conditional;
pub(crate) mod demand;
pub(crate) mod experiment;
pub mod health;
pub(crate) mod hedge;
pub mod indices;
pub(crate) mod key_cooldowns;
pub(crate) mod limiter;
#[cfg(test)]
mod limiter_tests;
pub mod measurements;
#[cfg(test)]
mod overload_tests;
pub(crate) mod permits;
pub mod policies;
pub mod policy;
pub mod route_inputs;
pub(crate) mod shared_health;
#[cfg(test)]
mod simulation;
#[cfg(test)]
mod simulation_tests;
pub(crate) mod tail_latency;
pub mod target_ref;
pub mod target_set;
pub(crate) mod target_state;
pub mod targets;
#[cfg(test)]
mod targets_tests;
pub(crate) mod tier;
pub(crate) mod token_rate;
pub(crate) mod wait_queue;
