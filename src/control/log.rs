//! Structured log on standard output: one JSON object per line.

use crate::observability::output;

/// Writes one event with its facts.
pub(crate) fn event(name: &str, facts: &serde_json::Value) {
    let at = crate::runtime::clock::since_epoch().as_millis();
    let mut line = serde_json::json!({
        "at_ms": u64::try_from(at).unwrap_or(u64::MAX),
        "event": name,
    });
    if let (Some(line), Some(facts)) = (line.as_object_mut(), facts.as_object()) {
        line.extend(facts.clone());
    }
    output::write(&format!("{line}\n"));
}
