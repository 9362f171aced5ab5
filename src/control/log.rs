//! Structured log on standard output: one JSON object per line. Only the control plane writes.

use std::io::Write;

/// Writes finished lines. When nobody reads standard output, the gateway goes on serving.
pub(crate) fn write(lines: &str) {
    if !lines.is_empty() {
        let mut out = std::io::stdout().lock();
        let _ = out.write_all(lines.as_bytes());
        let _ = out.flush();
    }
}

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
    write(&format!("{line}\n"));
}
