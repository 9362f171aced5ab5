//! The observation log: each compared pair of questions with its label, as JSON lines for `ringside tune`.
//!
//! It contains questions, so it is off unless a path is configured, and only the owner may read its file.
//! Lines wait in a bounded queue until the control thread writes them.

use crossbeam_queue::ArrayQueue;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

/// Lines that may wait; further ones are dropped and counted.
pub(crate) const LINES_MAX: usize = 1024;
/// Size from which the file is renamed to `NAME.1`, over an older one, and a new file is begun.
const FILE_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Lines that wait to be written.
pub(crate) struct ObservationLog {
    lines: ArrayQueue<String>,
    dropped: AtomicU64,
}

impl Default for ObservationLog {
    fn default() -> Self {
        Self {
            lines: ArrayQueue::new(LINES_MAX),
            dropped: AtomicU64::new(0),
        }
    }
}

/// One compared pair.
#[derive(serde::Serialize)]
pub(crate) struct LogLine<'l> {
    /// The stored question.
    pub a: &'l str,
    /// The question of the request.
    pub b: &'l str,
    /// `right`, `wrong` or `unknown`.
    pub label: &'static str,
    /// Cosine of the questions.
    pub similarity: f32,
    /// The verifier's score.
    pub score: f32,
    /// The requested model.
    pub model: &'l str,
}

impl ObservationLog {
    pub(crate) fn push(&self, line: &LogLine<'_>) {
        let pushed = serde_json::to_string(line).is_ok_and(|line| self.lines.push(line).is_ok());
        if !pushed {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Lines dropped because the queue was full or the file could not be written.
    #[must_use]
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    #[must_use]
    pub(crate) fn waiting(&self) -> usize {
        self.lines.len()
    }

    /// Appends the waiting lines to the file, and blocks meanwhile. Without a path they are discarded.
    ///
    /// # Errors
    /// The file cannot be written; the lines are counted as dropped.
    pub(crate) fn write_to(&self, path: Option<&Path>) -> std::io::Result<()> {
        let mut text = String::new();
        let mut count = 0;
        for _ in 0..self.lines.len() {
            if let Some(line) = self.lines.pop() {
                text.push_str(&line);
                text.push('\n');
                count += 1;
            }
        }
        let (Some(path), false) = (path, text.is_empty()) else {
            return Ok(());
        };
        let written = append(path, &text);
        if written.is_err() {
            self.dropped.fetch_add(count, Ordering::Relaxed);
        }
        written
    }
}

fn append(path: &Path, text: &str) -> std::io::Result<()> {
    if std::fs::metadata(path).is_ok_and(|file| file.len() >= FILE_BYTES_MAX) {
        let mut older = path.as_os_str().to_owned();
        older.push(".1");
        std::fs::rename(path, older)?;
    }
    let mut options = std::fs::OpenOptions::new();
    let mut file = options.create(true).append(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_bounded_and_appended() {
        let (log, folder) = (ObservationLog::default(), tempfile::tempdir().unwrap());
        let line = |label| LogLine {
            a: "one \"question\"",
            b: "another",
            label,
            similarity: 0.9,
            score: 1.0,
            model: "m",
        };
        let path = folder.path().join("log");
        for _ in 0..LINES_MAX + 5 {
            log.push(&line("right"));
        }
        assert_eq!((log.waiting(), log.dropped()), (LINES_MAX, 5));
        log.write_to(Some(&path)).unwrap();
        log.push(&line("unknown"));
        log.write_to(Some(&path)).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text.lines().count(), LINES_MAX + 1);
        let first: serde_json::Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
        assert_eq!(
            (&first["label"], &first["a"]),
            (&"right".into(), &"one \"question\"".into())
        );
        log.push(&line("unknown"));
        assert!(
            log.write_to(Some(Path::new("/no/such/folder/log")))
                .is_err()
        );
        assert_eq!(log.dropped(), 6);
    }
}
