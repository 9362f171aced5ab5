//! Standard output and standard error of the running process. Each has a bounded queue and a thread that writes: a reader
//! that hangs, or a disk that is full, costs lines and stops nothing else.

use crate::runtime::clock;
use parking_lot::{Condvar, Mutex};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fd::BorrowedFd;
use rustix::io::Errno;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Bytes of lines that may wait for one of the two; further lines are dropped and counted.
pub(crate) const LOG_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Lines are cut into pieces of about this many bytes, so that what fits is kept when the queue is nearly full.
const PIECE_BYTES: usize = 64 * 1024;

static STDOUT: Output = Output::new("log-stdout", rustix::stdio::stdout);
static STDERR: Output = Output::new("log-stderr", rustix::stdio::stderr);

/// Lines for standard output, each with its line end.
pub(crate) fn write(lines: &str) {
    STDOUT.push(lines);
}

/// A line for a person, without its line end, on standard error.
pub fn notice(line: &str) {
    STDERR.push(&format!("{line}\n"));
}

/// Waits until everything is written, but not longer than `within`.
pub fn flush(within: Duration) {
    let by = clock::now() + within;
    STDOUT.flush(by);
    STDERR.flush(by);
}

/// Lines that were dropped or could not be written.
pub(crate) fn lines_dropped() -> u64 {
    STDOUT.queue.lock().dropped + STDERR.queue.lock().dropped
}

/// Bytes that wait for standard output.
pub(crate) fn bytes_waiting() -> usize {
    STDOUT.queue.lock().bytes
}

/// Makes panics go to standard error by the queue, too.
pub fn report_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let thread = std::thread::current();
        let name = thread.name().unwrap_or("unnamed");
        let backtrace = std::backtrace::Backtrace::capture();
        let trace = match backtrace.status() {
            std::backtrace::BacktraceStatus::Captured => format!("\n{backtrace}"),
            _ => String::new(),
        };
        notice(&format!("ringside: thread {name} {panic}{trace}"));
    }));
}

struct Output {
    thread: &'static str,
    target: fn() -> BorrowedFd<'static>,
    queue: Mutex<Queue>,
    changed: Condvar,
}

struct Queue {
    pieces: VecDeque<String>,
    /// Bytes of the pieces, and of the piece that is being written.
    bytes: usize,
    dropped: u64,
    has_thread: bool,
}

impl Output {
    const fn new(thread: &'static str, target: fn() -> BorrowedFd<'static>) -> Self {
        Self {
            thread,
            target,
            queue: Mutex::new(Queue {
                pieces: VecDeque::new(),
                bytes: 0,
                dropped: 0,
                has_thread: false,
            }),
            changed: Condvar::new(),
        }
    }

    fn push(&'static self, lines: &str) {
        if lines.is_empty() {
            return;
        }
        let mut queue = self.queue.lock();
        queue.push(lines);
        if !queue.has_thread {
            let thread = std::thread::Builder::new().name(self.thread.into());
            queue.has_thread = thread.spawn(|| self.write_all()).is_ok();
        }
        drop(queue);
        self.changed.notify_all();
    }

    fn flush(&self, by: Instant) {
        let mut queue = self.queue.lock();
        while queue.bytes > 0 && queue.has_thread {
            if self.changed.wait_until(&mut queue, by).timed_out() {
                return;
            }
        }
    }

    /// Writes what waits, for ever.
    fn write_all(&self) {
        let mut writer = LineWriter {
            target: (self.target)(),
            is_cut: false,
        };
        let mut queue = self.queue.lock();
        let mut reported = queue.dropped;
        loop {
            let Some(piece) = queue.pieces.pop_front() else {
                self.changed.wait(&mut queue);
                continue;
            };
            let dropped = queue.dropped;
            drop(queue);
            let lost = writer.write(&piece);
            if lost == 0 && dropped > reported && writer.write(&gap(dropped - reported)) == 0 {
                reported = dropped;
            }
            queue = self.queue.lock();
            queue.bytes -= piece.len();
            queue.dropped += lost;
            self.changed.notify_all();
        }
    }
}

/// The line that stands for lines which are missing.
fn gap(lines: u64) -> String {
    let at = clock::since_epoch().as_millis();
    let facts = serde_json::json!({
        "at_ms": u64::try_from(at).unwrap_or(u64::MAX),
        "event": "log_lines_dropped",
        "lines": lines,
        "reason": "standard output took no more; at most LOG_BYTES_MAX bytes wait",
    });
    format!("{facts}\n")
}

impl Queue {
    fn push(&mut self, lines: &str) {
        let mut rest = lines;
        while !rest.is_empty() {
            let (piece, after) = split(rest);
            rest = after;
            if self.bytes + piece.len() > LOG_BYTES_MAX {
                self.dropped += count_lines(piece);
                continue;
            }
            self.bytes += piece.len();
            self.pieces.push_back(piece.to_owned());
        }
    }
}

/// The first lines of `lines`, about [`PIECE_BYTES`] of them, and the others.
fn split(lines: &str) -> (&str, &str) {
    let bytes = lines.as_bytes();
    let after_piece = bytes.get(PIECE_BYTES..).unwrap_or_default();
    match memchr::memchr(b'\n', after_piece) {
        Some(at) => lines.split_at(PIECE_BYTES + at + 1),
        None => (lines, ""),
    }
}

fn count_lines(lines: &str) -> u64 {
    memchr::memchr_iter(b'\n', lines.as_bytes()).count() as u64
}

struct LineWriter {
    target: BorrowedFd<'static>,
    /// The last write ended in the middle of a line.
    is_cut: bool,
}

impl LineWriter {
    /// Writes lines and blocks meanwhile; the number of lines that were not written whole.
    fn write(&mut self, lines: &str) -> u64 {
        let mut rest = lines.as_bytes();
        if self.is_cut {
            if self.write_bytes(b"\n").is_err() {
                return count_lines(lines);
            }
            self.is_cut = false;
        }
        while !rest.is_empty() {
            match self.write_bytes(rest) {
                Ok(count) => rest = rest.get(count..).unwrap_or_default(),
                Err(_) => {
                    let written = lines.len() - rest.len();
                    self.is_cut = written > 0 && !lines.as_bytes()[..written].ends_with(b"\n");
                    return memchr::memchr_iter(b'\n', rest).count() as u64;
                }
            }
        }
        0
    }

    fn write_bytes(&self, bytes: &[u8]) -> Result<usize, Errno> {
        loop {
            match rustix::io::write(self.target, bytes) {
                Ok(0) => return Err(Errno::IO),
                Err(Errno::INTR) => {}
                // Another process may have made the pipe non-blocking.
                Err(Errno::AGAIN) => {
                    let mut wanted = [PollFd::new(&self.target, PollFlags::OUT)];
                    let _ = poll(&mut wanted, None);
                }
                other => return other,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn empty() -> Queue {
        Queue {
            pieces: VecDeque::new(),
            bytes: 0,
            dropped: 0,
            has_thread: false,
        }
    }

    #[test]
    fn lines_beyond_the_limit_are_dropped_and_counted() {
        let mut queue = empty();
        let line = format!("{}\n", "x".repeat(1023));
        queue.push(&line.repeat(LOG_BYTES_MAX / 1024 + 100));
        assert!(queue.bytes <= LOG_BYTES_MAX && queue.bytes > LOG_BYTES_MAX - 2 * PIECE_BYTES);
        let queued: u64 = queue.pieces.iter().map(|piece| count_lines(piece)).sum();
        assert_eq!(queued + queue.dropped, (LOG_BYTES_MAX / 1024 + 100) as u64);
        assert!(queue.pieces.iter().all(|piece| piece.ends_with('\n')));
    }

    #[test]
    fn one_long_line_stays_whole() {
        let mut queue = empty();
        let long = format!("{}\n", "x".repeat(3 * PIECE_BYTES));
        queue.push(&format!("a\n{long}b\n"));
        let all: String = queue.pieces.iter().map(String::as_str).collect();
        assert_eq!(all, format!("a\n{long}b\n"));
        assert_eq!(queue.pieces.len(), 2);
    }

    #[test]
    fn a_line_that_was_cut_by_a_full_disk_is_not_continued() {
        // Writes to `/dev/full` fail as on a full disk.
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full");
        let full = Box::leak(Box::new(full.unwrap()));
        let mut writer = LineWriter {
            target: std::os::fd::AsFd::as_fd(full),
            is_cut: false,
        };
        assert_eq!(writer.write("a\nb\n"), 2);
        assert!(!writer.is_cut);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let file = Box::leak(Box::new(std::fs::File::create(&path).unwrap()));
        let mut writer = LineWriter {
            target: std::os::fd::AsFd::as_fd(file),
            is_cut: true,
        };
        assert_eq!(writer.write("whole\n"), 0);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "\nwhole\n");
    }
}
