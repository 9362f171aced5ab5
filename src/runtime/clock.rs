//! The only place that reads the clock; all other code receives an `Instant`.

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

/// The last time that this thread read. On a core every arrival of bytes and every deadline reads the clock, so this
/// is the time at which the running task was woken. It serves deadlines and time stamps, where the microseconds of
/// the task's own work do not matter.
#[must_use]
pub fn recent() -> Instant {
    RECENT.get().unwrap_or_else(now)
}

/// Wall-clock time since the Unix epoch; zero if the clock is set before the epoch.
#[must_use]
pub fn since_epoch() -> Duration {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
}

/// Suspends the task until `until`. May be called only on a core thread.
pub async fn sleep_until(until: Instant) {
    monoio::time::sleep_until(until.into()).await;
}
