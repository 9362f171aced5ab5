//! Writes out what waits for the log: access records, and compared pairs of the semantic cache.

use crate::control::log;
use crate::control::plane::Plane;

/// Writes the access records that wait.
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
    log::write(&lines);
}

/// Writes the compared pairs that wait, if a log is configured for them.
pub(crate) fn write_observations(plane: &Plane) {
    let Some(semantic) = &plane.shared.semantic else {
        return;
    };
    let snapshot = plane.shared.snapshot.load();
    let path = snapshot.config.cache.semantic.log.as_deref();
    if let Err(error) = semantic.observations().write_to(path) {
        let path = path.map(|path| path.display().to_string());
        let facts = serde_json::json!({ "path": path, "reason": error.to_string() });
        log::event("observations_not_written", &facts);
    }
}
