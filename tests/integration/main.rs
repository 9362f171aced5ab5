//! Tests of the running process against real sockets, grouped by property, on both drivers.

mod harness;

mod admission;
mod bad_input;
mod cache;
mod cancel_safety;
mod coalescing;
mod conditional;
mod control_plane;
mod credentials;
mod drain;
mod experiments;
mod failover;
mod framing;
mod freshness;
mod hedging;
mod learning;
mod local_model;
mod money;
mod overload;
mod patience;
mod persistence;
mod reload;
mod routing;
mod scoping;
mod shadow;
mod sharing;
mod smuggling;
mod stale;
mod steering;
mod streams;
mod transports;
mod tune;
mod undo;
