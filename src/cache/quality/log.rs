//! The observation log: each compared pair of questions with its label, as JSON lines for `ringside tune`.
//!
//! It holds questions, so it is off unless a path is configured, and its file is the owner's alone. Lines wait in
//! a bounded queue for whoever writes them out.

use crate::cache::quality::compare::Label;
use crossbeam_queue::ArrayQueue;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

/// Lines that may wait; further ones are dropped and counted.
pub(crate) const LINES_MAX: usize = 1024;
/// Size from which on the file is renamed to `NAME.1`, over an older one, and begun anew.
pub(crate) const FILE_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Lines on their way to the file.
pub struct ObservationLog {
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

/// What a line says.
#[derive(serde::Serialize)]
pub struct Line<'l> {
    /// The stored question.
    pub a: &'l str,
    /// The question asked.
    pub b: &'l str,
    /// `right`, `wrong` or `unknown`.
    pub label: &'static str,
    /// Cosine of the questions.
    pub similarity: f32,
    /// The verifier's score.
    pub score: f32,
    /// The model asked for.
    pub model: &'l str,
}

impl Line<'_> {
    /// With a label.
    #[must_use]
    pub fn labelled(mut self, label: Label) -> Self {
        self.label = label.name();
        self
    }
}

impl ObservationLog {
    /// Adds a line.
    pub fn push(&self, line: &Line<'_>) {
        let pushed = serde_json::to_string(line).is_ok_and(|line| self.lines.push(line).is_ok());
        if !pushed {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Lines dropped because the queue was full or the file could not be written.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Lines that wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.lines.len()
    }

    /// Appends what waits to the file; blocks. Without a path it is dropped silently.
    ///
    /// # Errors
    /// The file cannot be written; the lines are counted as dropped.
    pub fn write_to(&self, path: Option<&Path>) -> std::io::Result<()> {
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
        let line = || Line {
            a: "one \"question\"",
            b: "another",
            label: "unknown",
            similarity: 0.9,
            score: 1.0,
            model: "m",
        };
        let path = folder.path().join("log");
        for _ in 0..LINES_MAX + 5 {
            log.push(&line().labelled(Label::Right));
        }
        assert_eq!((log.waiting(), log.dropped()), (LINES_MAX, 5));
        log.write_to(Some(&path)).unwrap();
        log.push(&line());
        log.write_to(Some(&path)).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text.lines().count(), LINES_MAX + 1);
        let first: serde_json::Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
        assert_eq!(
            (&first["label"], &first["a"]),
            (&"right".into(), &"one \"question\"".into())
        );
        log.push(&line());
        assert!(
            log.write_to(Some(Path::new("/no/such/folder/log")))
                .is_err()
        );
        assert_eq!(log.dropped(), 6);
    }
}
