//! Allocations per request of the whole process, counted by the allocator: a warm pass-through request
//! takes what its bound says, on both drivers. Counts do not depend on how busy the machine is.

mod in_process;

use in_process::{Client, WHOLE, gateway, provider, stream_of};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use std::alloc::System;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Requests before anything is counted: pools and tables have grown by then.
const WARM_UP: u32 = 300;
const COUNTED: u32 = 1000;

/// Allocations and reallocations per request.
fn count(client: &mut Client, is_new: bool) -> f64 {
    for _ in 0..WARM_UP {
        client.ask(is_new);
    }
    let region = Region::new(ALLOCATOR);
    for _ in 0..COUNTED {
        client.ask(is_new);
    }
    let change = region.change();
    (change.allocations + change.reallocations) as f64 / f64::from(COUNTED)
}

/// Allocations that a warm request may take. What remains of a pass-through: the request's future (so that
/// an idle connection is small), both lists of headers, names and ids as text.
const BOUNDS: [(&str, bool, Tokens, f64); 6] = [
    ("passed through", false, None, 10.5),
    ("passed through as a stream of 1", false, Some(1), 13.5),
    ("passed through as a stream of 50", false, Some(50), 14.5),
    ("answered by the provider and stored", true, None, 18.5),
    (
        "answered as a stream of 50 and stored",
        true,
        Some(50),
        25.5,
    ),
    ("answered from the cache", true, None, 10.5),
];

type Tokens = Option<usize>;

#[test]
fn a_warm_request_allocates_within_its_bound() {
    let folder = tempfile::tempdir().unwrap();
    let mut above = Vec::new();
    for driver in ["io_uring", "epoll"] {
        for (what, cache, tokens, bound) in BOUNDS {
            let provider = provider(tokens.map_or(WHOLE, stream_of));
            let gateway = gateway(
                folder.path(),
                driver,
                provider,
                &format!("enabled = {cache}"),
            );
            let mut client = Client::new(gateway, tokens.is_some());
            let taken = count(&mut client, what != "answered from the cache");
            println!("{driver}: a request {what}: {taken} allocations");
            if taken > bound {
                above.push(format!("{driver}: {what}: {taken} > {bound}"));
            }
        }
    }
    assert!(above.is_empty(), "{above:#?}");
}
