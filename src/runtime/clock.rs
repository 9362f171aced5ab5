//! Time, read in one place: everything else is handed an `Instant`.

use std::cell::Cell;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

thread_local! {
    static RECENT: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// The monotonic clock.
#[must_use]
pub fn now() -> Instant {
    let now = Instant::now();
    RECENT.set(Some(now));
    now
}

/// What this thread last read from the clock. On a core every arrival of bytes and every deadline
/// reads it, so this is as late as what the running task was woken by: for the start of a deadline
/// and for time stamps, where the microseconds of the task's own work do not count.
#[must_use]
pub fn recent() -> Instant {
    RECENT.get().unwrap_or_else(now)
}

/// Wall-clock time since the Unix epoch; zero if the clock stands before it.
#[must_use]
pub fn since_epoch() -> Duration {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
}

/// Suspends the task until `until`. Only on a core thread.
pub async fn sleep_until(until: Instant) {
    monoio::time::sleep_until(until.into()).await;
}
