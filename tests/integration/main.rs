//! Tests of the running process against real sockets, grouped by property, on both drivers.
#![allow(
    clippy::disallowed_types,
    reason = "the standard library's locks are poisoned by a panic, which then fails the other threads of the test"
)]

mod harness;

mod admin_guards;
mod arrays;
mod authentication;
mod azure;
mod bad_input;
mod body_memory;
mod cache;
mod cancel_safety;
mod coalescing;
mod coalescing_dialects;
mod conditional;
mod control_plane;
mod credentials;
mod deadlines;
mod deletions;
mod dialects;
mod drain;
mod experiments;
mod failover;
mod fairness;
mod family;
mod forwarded_headers;
mod framing;
mod freshness;
mod hedging;
mod hit_samples;
mod local_model;
mod mirror;
mod money;
mod overload;
mod passthrough;
mod persistence;
mod provider_faults;
mod reload;
mod responses;
mod routing;
mod routing_fields;
mod scoping;
mod sharing;
mod slow_output;
mod smuggling;
mod stale;
mod streams;
mod transports;
mod tune;
mod undo;
mod unreadable;
mod uploads;
