//! Time, read in one place: everything else is handed an `Instant`.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The monotonic clock.
#[must_use]
pub fn now() -> Instant {
    Instant::now()
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
