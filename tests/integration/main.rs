//! Tests of the running process against real sockets, grouped by property, on both drivers.
// Upstreams of the tests wait with the standard library's locks: a panic in one is to fail the others.
#![allow(clippy::disallowed_types)]

mod harness;

mod arrays;
mod authentication;
mod azure;
mod bad_input;
mod cache;
mod cancel_safety;
mod coalescing;
mod coalescing_dialects;
mod conditional;
mod control_plane;
mod credentials;
mod deadlines;
mod dialects;
mod drain;
mod experiments;
mod failover;
mod family;
mod framing;
mod freshness;
mod hedging;
mod learning;
mod local_model;
mod mirror;
mod money;
mod overload;
mod passthrough;
mod persistence;
mod reload;
mod responses;
mod routing;
mod routing_fields;
mod scoping;
mod sharing;
mod smuggling;
mod stale;
mod streams;
mod transports;
mod tune;
mod undo;
mod uploads;
