//! The part of a shared stream that is buffered for followers: those that read slowly, and those that may still
//! join. It must not know who reads.

use crate::runtime::buffer;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Bytes of one stream that are buffered for followers. Beyond it the call takes no more followers, and a
/// follower that is behind by more loses its stream. About 4,000 tokens.
pub(crate) const STREAM_BYTES_MAX: usize = 1024 * 1024;
/// The same limit while all calls together buffer [`ALL_STREAM_BYTES_MAX`].
pub(crate) const STREAM_BYTES_TIGHT: usize = 64 * 1024;
/// Bytes that all calls together buffer before each is held to [`STREAM_BYTES_TIGHT`].
pub(crate) const ALL_STREAM_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Bytes that a follower copies at once, so that the call is locked for microseconds only.
const READ_BYTES_MAX: usize = 16 * 1024;

/// Bytes of a stream, of which the first may have been discarded.
#[derive(Default)]
pub(crate) struct StreamBuffer {
    /// Complete events, as they arrived.
    bytes: VecDeque<u8>,
    /// Offset in the stream of the first buffered byte.
    start_offset: u64,
    /// Bytes that this buffer has added to the total of all calls.
    counted_bytes: usize,
}

impl StreamBuffer {
    /// Takes a pooled buffer, which [`Self::release`] gives back.
    pub(crate) fn reserve(&mut self, total: &AtomicUsize) {
        self.bytes = VecDeque::from(buffer::take(buffer::CLASS_BYTES[0]));
        self.count(total);
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Offset in the stream of the next byte to arrive.
    pub(crate) fn end_offset(&self) -> u64 {
        self.start_offset + self.bytes.len() as u64
    }

    pub(crate) fn append(&mut self, piece: &[u8], total: &AtomicUsize) {
        self.bytes.extend(piece);
        self.count(total);
    }

    /// Discards the bytes that every reader has, and of the rest all but the last `bytes_max`.
    pub(crate) fn discard(&mut self, slowest_reader: Option<u64>, bytes_max: usize) {
        let end = self.end_offset();
        let oldest_allowed = end.saturating_sub(bytes_max as u64);
        let from = slowest_reader.unwrap_or(end).max(oldest_allowed);
        let count = usize::try_from(from.saturating_sub(self.start_offset)).unwrap_or(usize::MAX);
        self.bytes.drain(..count.min(self.bytes.len()));
        self.start_offset = self.start_offset.max(from);
        if self.bytes.capacity() > 4 * self.bytes.len() + STREAM_BYTES_TIGHT {
            self.bytes.shrink_to_fit();
        }
    }

    /// Appends bytes from `offset` on to `into`; returns how many. `None` if they were discarded.
    pub(crate) fn read(&self, offset: u64, into: &mut Vec<u8>) -> Option<usize> {
        let skip = offset.checked_sub(self.start_offset)?;
        let skip = usize::try_from(skip).unwrap_or(usize::MAX);
        let count = self.bytes.len().saturating_sub(skip).min(READ_BYTES_MAX);
        if count > 0 {
            into.extend(self.bytes.range(skip..skip + count));
        }
        Some(count)
    }

    /// Gives the buffer back to the pool, and takes its bytes off the total.
    pub(crate) fn release(&mut self, total: &AtomicUsize) {
        buffer::give(std::mem::take(&mut self.bytes).into());
        total.fetch_sub(self.counted_bytes, Ordering::Relaxed);
        self.counted_bytes = 0;
    }

    fn count(&mut self, total: &AtomicUsize) {
        let now = self.bytes.capacity();
        let before = std::mem::replace(&mut self.counted_bytes, now);
        if now > before {
            total.fetch_add(now - before, Ordering::Relaxed);
        } else if now < before {
            total.fetch_sub(before - now, Ordering::Relaxed);
        }
    }
}
