//! The test kit: a gateway process, a scripted upstream, a client that sends raw HTTP.

mod bodies;
mod client;
mod gateway;
mod message;
mod upstream;

pub(crate) use bodies::{
    ask, ask_stream, chat_response, chunk, delta, model, provider, stream_end, stream_head, with,
    write_json, write_stream, write_with,
};
pub(crate) use client::{Client, request};
pub(crate) use gateway::{Gateway, Setup};
pub(crate) use message::{Response, read_message};
pub(crate) use upstream::{Seen, Upstream};

use std::time::{Duration, Instant};

/// Longest a test waits for anything.
pub(crate) const TEST_TIMEOUT: Duration = Duration::from_secs(20);

/// Runs `test` on both drivers.
pub(crate) fn on_both_drivers(test: impl Fn(&str)) {
    for driver in ["io_uring", "epoll"] {
        eprintln!("driver: {driver}");
        test(driver);
    }
}

/// Waits until `condition` holds; fails with `what` after [`TEST_TIMEOUT`].
pub(crate) fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let until = Instant::now() + TEST_TIMEOUT;
    while !condition() {
        assert!(Instant::now() < until, "never came true: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
