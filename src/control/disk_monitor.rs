//! Says in the log that the cache's folder cannot be written, once for each time it begins, and that it can again.

use crate::cache::disk::handle::DiskStats;
use crate::control::log;
use crate::control::plane::Plane;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// How often the counters are looked at.
const EVERY: Duration = Duration::from_secs(1);

/// What was seen of the counters last.
#[derive(Default)]
struct Episode {
    failed: u64,
    written: u64,
    /// Records that failed in the episode that lasts; `None` while writes succeed.
    lost: Option<u64>,
}

/// A change to be logged.
#[derive(Debug, PartialEq, Eq)]
enum Notice {
    Began,
    /// It ended, after so many records had failed.
    Ended(u64),
}

impl Episode {
    fn update(&mut self, failed: u64, written: u64) -> Option<Notice> {
        let (more_failed, more_written) = (failed - self.failed, written > self.written);
        (self.failed, self.written) = (failed, written);
        match (self.lost, more_failed) {
            (None, 0) => None,
            (None, lost) => {
                self.lost = Some(lost);
                Some(Notice::Began)
            }
            (Some(lost), 0) if more_written => {
                self.lost = None;
                Some(Notice::Ended(lost))
            }
            (Some(lost), more) => {
                self.lost = Some(lost + more);
                None
            }
        }
    }
}

/// Watches the folder for ever; returns at once if there is none.
pub(crate) async fn watch(plane: std::sync::Arc<Plane>) {
    let Some(disk) = plane.shared.store.disk() else {
        return;
    };
    let stats: &DiskStats = &disk.stats;
    let mut episode = Episode::default();
    loop {
        let failed = stats.failed.load(Ordering::Relaxed);
        let written = stats.written.load(Ordering::Relaxed);
        match episode.update(failed, written) {
            Some(Notice::Began) => {
                let reason = stats.failure.lock().clone();
                let snapshot = plane.shared.snapshot.load();
                let dir = snapshot.config.cache.dir.as_ref();
                let facts = serde_json::json!({
                    "dir": dir.map(|dir| dir.display().to_string()),
                    "reason": reason,
                    "effect": "entries are kept in memory only",
                });
                log::event("cache_not_written", &facts);
            }
            Some(Notice::Ended(records)) => {
                let facts = serde_json::json!({ "records_lost": records });
                log::event("cache_written_again", &facts);
            }
            None => {}
        }
        tokio::time::sleep(EVERY).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_episode_is_said_once_and_its_end_too() {
        let mut episode = Episode::default();
        assert_eq!(episode.update(0, 5), None);
        assert_eq!(episode.update(2, 5), Some(Notice::Began));
        assert_eq!(episode.update(5, 5), None);
        // While some writes fail, it lasts.
        assert_eq!(episode.update(6, 7), None);
        assert_eq!(episode.update(6, 7), None);
        assert_eq!(episode.update(6, 8), Some(Notice::Ended(6)));
        assert_eq!(episode.update(7, 8), Some(Notice::Began));
    }
}
