//! Writes out what waits for the log: access records, and compared pairs of the semantic cache.

use crate::cache::quality::log::ObservationLog;
use crate::control::log;
use crate::control::plane::Plane;
use crate::observability::output;
use std::sync::Arc;

/// Passes the access records that wait to standard output.
pub(crate) fn write_records(plane: &Plane) {
    let mut lines = String::new();
    for core in &plane.cores {
        // At most what waits now: a busy core must not hold this thread.
        for _ in 0..core.records.len() {
            let Some(record) = core.records.pop() else {
                break;
            };
            lines.push_str(&record.to_json());
            lines.push('\n');
        }
    }
    output::write(&lines);
}

/// Begins to write the compared pairs that wait, unless they are being written: a slow disk holds a thread of its own.
pub(crate) fn begin_observations(plane: &Arc<Plane>) {
    let has_some = plane
        .shared
        .semantic
        .as_ref()
        .is_some_and(|semantic| semantic.observations().waiting() > 0);
    if let (true, Ok(turn)) = (
        has_some,
        Arc::clone(&plane.observations_turn).try_lock_owned(),
    ) {
        let plane = Arc::clone(plane);
        tokio::task::spawn_blocking(move || {
            write_observations(&plane);
            drop(turn);
        });
    }
}

/// Writes the compared pairs that wait, after those that are being written.
pub(crate) async fn finish_observations(plane: &Arc<Plane>) {
    drop(plane.observations_turn.lock().await);
    begin_observations(plane);
    drop(plane.observations_turn.lock().await);
}

/// Writes the compared pairs that wait, if a log is configured for them.
fn write_observations(plane: &Plane) {
    let Some(semantic) = &plane.shared.semantic else {
        return;
    };
    let snapshot = plane.shared.snapshot.load();
    let path = snapshot.config.cache.semantic.log.as_deref();
    let log: &ObservationLog = semantic.observations();
    if let Err(error) = log.write_to(path) {
        let path = path.map(|path| path.display().to_string());
        let facts = serde_json::json!({ "path": path, "reason": error.to_string() });
        log::event("observations_not_written", &facts);
    }
}
