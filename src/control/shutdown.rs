//! The graceful stop.

use crate::control::core_message::CoreMessage;
use crate::control::log;
use crate::control::plane::Plane;
use crate::control::records::{finish_observations, write_records};
use crate::runtime::clock;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// How long a stop waits for the cache's folder, and for the file of compared pairs.
const FLUSH_WITHIN: Duration = Duration::from_secs(1);

/// How long after the deadline a core may end. One that is still busy then does not hold up the stop.
const CORES_LATE: Duration = Duration::from_secs(2);

/// Announces the stop for `delay`, stops accepting, and lets busy connections finish within `deadline`.
pub(crate) async fn drain(plane: &Arc<Plane>, delay: Duration, deadline: Duration) {
    plane.draining.store(true, Ordering::Release);
    let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    log::event(
        "draining",
        &serde_json::json!({
            "announce_ms": millis(delay),
            "deadline_ms": millis(deadline),
        }),
    );
    tokio::time::sleep(delay).await;
    for acceptor in &plane.acceptors {
        acceptor.stop();
    }
    let by = clock::now() + deadline;
    let mut stopping = Vec::new();
    for core in &plane.cores {
        let (ended, has_ended) = futures_channel::oneshot::channel();
        core.mailbox.send(CoreMessage::Drain { by, ended });
        stopping.push(has_ended);
    }
    let all_ended = async {
        for core in stopping {
            // An error means that the core has ended as well.
            let _ = core.await;
        }
    };
    let _ = tokio::time::timeout(deadline + CORES_LATE, all_ended).await;
    if let Some(disk) = plane.shared.store.disk() {
        let _ = tokio::time::timeout(FLUSH_WITHIN, disk.flush()).await;
    }
    let _ = tokio::time::timeout(FLUSH_WITHIN, finish_observations(plane)).await;
    write_records(plane);
    log::event("stopped", &serde_json::json!({}));
}
