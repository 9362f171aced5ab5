//! The thread that appends records, begins segments and removes the oldest. It must not know requests.

use crate::cache::disk::deletion::Deletion;
use crate::cache::disk::folder::{Folder, Segment};
use crate::cache::disk::handle::{DiskHandle, DiskStats, PendingDeletion, WriteRequest};
use crate::cache::disk::record::{
    Clocks, SEGMENT_HEAD, StoredEmbedding, write_deletion, write_entry,
};
use crate::cache::entry::Entry;
use crate::cache::store::Store;
use crossbeam_channel::Receiver;
use futures_channel::oneshot;
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::fs::File;
use std::io::Write;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};

/// The writer gathers waiting records into one write of up to this many bytes.
const BATCH_BYTES: usize = 256 * 1024;
/// Segments that the space is divided into: removing the oldest loses about an eighth of the entries.
const SEGMENTS: u64 = 8;

/// A caller that waits for the batch to be written.
struct BatchWaiter {
    done: oneshot::Sender<bool>,
    /// Whether the data must be synced to the disk.
    needs_sync: bool,
}

/// Writes to one folder.
pub(crate) struct Writer {
    folder: Arc<Folder>,
    /// The oldest first.
    segments: VecDeque<Segment>,
    open_file: Option<File>,
    next_number: u64,
    bytes_max: u64,
    batch: Vec<u8>,
    batch_records: u64,
    waiters: Vec<BatchWaiter>,
    stats: Arc<DiskStats>,
    pending_deletions: Arc<Mutex<Vec<PendingDeletion>>>,
}

impl Writer {
    /// A writer for a folder that has `segments`. It does not append to them, but removes them when it needs
    /// their room.
    pub(crate) fn new(folder: Arc<Folder>, segments: &[Segment], disk: &DiskHandle) -> Self {
        let writer = Self {
            folder,
            segments: segments.iter().copied().collect(),
            open_file: None,
            next_number: segments.last().map_or(1, |newest| newest.number + 1),
            bytes_max: disk.bytes_max,
            batch: Vec::new(),
            batch_records: 0,
            waiters: Vec::new(),
            stats: Arc::clone(&disk.stats),
            pending_deletions: Arc::clone(&disk.pending_deletions),
        };
        writer.update_stats();
        writer
    }

    /// Writes until every handle is dropped.
    pub(crate) fn run(mut self, receiver: &Receiver<WriteRequest>, store: &Weak<Store>) {
        while let Ok(request) = receiver.recv() {
            self.handle(request, store);
            while self.batch.len() < BATCH_BYTES {
                match receiver.try_recv() {
                    Ok(request) => self.handle(request, store),
                    Err(_) => break,
                }
            }
            // After the entries: what a deletion covers was removed from the store before it became pending.
            let deletions = std::mem::take(&mut *self.pending_deletions.lock());
            for PendingDeletion { deletion, done } in deletions {
                self.add_deletion(&deletion);
                let needs_sync = true;
                self.waiters.push(BatchWaiter { done, needs_sync });
            }
            self.write_batch();
        }
    }

    fn handle(&mut self, request: WriteRequest, store: &Weak<Store>) {
        match request {
            WriteRequest::Entry { entry, embedding } => {
                let (entry, store) = (entry.upgrade(), store.upgrade());
                if let (Some(entry), Some(store)) = (entry, store) {
                    // An entry that was removed meanwhile must not be written after the record of its deletion.
                    if store.contains(&entry) {
                        self.add_entry(&entry, embedding.as_deref());
                    }
                }
            }
            WriteRequest::Wake => {}
            WriteRequest::Flush(done) => {
                let needs_sync = false;
                self.waiters.push(BatchWaiter { done, needs_sync });
            }
        }
    }

    fn add_entry(&mut self, entry: &Entry, embedding: Option<&StoredEmbedding>) {
        let start = self.batch.len();
        let secrets = &self.folder.secrets;
        write_entry(&mut self.batch, secrets, entry, embedding, Clocks::read());
        if (self.batch.len() - start) as u64 > self.segment_bytes_max() {
            self.batch.truncate(start);
            self.stats.too_large.fetch_add(1, Ordering::Relaxed);
        } else {
            self.batch_records += 1;
        }
    }

    fn add_deletion(&mut self, deletion: &Deletion) {
        // Twice: damage to one record leaves the other.
        for _ in 0..2 {
            write_deletion(&mut self.batch, &self.folder.secrets, deletion);
            self.batch_records += 1;
        }
    }

    fn segment_bytes_max(&self) -> u64 {
        self.bytes_max / SEGMENTS
    }

    fn write_batch(&mut self) {
        let batch = std::mem::take(&mut self.batch);
        let is_written = batch.is_empty() || self.append(&batch);
        let records = std::mem::take(&mut self.batch_records);
        let counter = if is_written {
            &self.stats.written
        } else {
            &self.stats.failed
        };
        counter.fetch_add(records, Ordering::Relaxed);
        let needs_sync = self.waiters.iter().any(|waiter| waiter.needs_sync);
        let is_synced = !needs_sync
            || self
                .open_file
                .as_ref()
                .is_some_and(|file| file.sync_data().is_ok());
        for waiter in self.waiters.drain(..) {
            // A caller that no longer waits has dropped its receiver.
            let _ = waiter
                .done
                .send(is_written && (!waiter.needs_sync || is_synced));
        }
        // The buffer is reused, unless a large response made it large.
        if batch.capacity() <= 2 * BATCH_BYTES {
            self.batch = batch;
            self.batch.clear();
        }
        self.update_stats();
    }

    /// Makes room, then appends to the newest segment or a new one. After a failed write the file is cut to
    /// its old length.
    fn append(&mut self, batch: &[u8]) -> bool {
        let bytes = batch.len() as u64;
        let newest_bytes = self.segments.back().map_or(0, |newest| newest.bytes);
        if newest_bytes + bytes > self.segment_bytes_max() {
            self.open_file = None;
        }
        self.make_room(bytes + SEGMENT_HEAD.len() as u64);
        if self.open_file.is_none() && !self.begin_segment() {
            return false;
        }
        let (Some(file), Some(newest)) = (&mut self.open_file, self.segments.back_mut()) else {
            debug_assert!(false, "an open file is the newest segment");
            return false;
        };
        match file.write_all(batch) {
            Ok(()) => {
                newest.bytes += bytes;
                return true;
            }
            Err(error) => self.stats.note_failure(&error),
        }
        if file.set_len(newest.bytes).is_err() {
            self.open_file = None;
        }
        false
    }

    fn begin_segment(&mut self) -> bool {
        let number = self.next_number;
        self.next_number += 1;
        let mut file = match self.folder.create(number) {
            Ok(file) => file,
            Err(error) => {
                self.stats.note_failure(&error);
                return false;
            }
        };
        let begun = file.write_all(&SEGMENT_HEAD);
        if let Err(error) = &begun {
            self.stats.note_failure(error);
        }
        self.segments.push_back(Segment {
            number,
            bytes: SEGMENT_HEAD.len() as u64,
        });
        self.open_file = begun.is_ok().then_some(file);
        self.open_file.is_some()
    }

    /// Removes the oldest segments until `bytes` more fit.
    fn make_room(&mut self, bytes: u64) {
        while self.total_bytes() + bytes > self.bytes_max {
            let Some(oldest) = self.segments.pop_front() else {
                return;
            };
            if self.segments.is_empty() {
                self.open_file = None;
            }
            self.folder.remove(oldest.number);
        }
    }

    fn total_bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.bytes).sum()
    }

    fn update_stats(&self) {
        let segments = self.segments.len() as u64;
        self.stats.segments.store(segments, Ordering::Relaxed);
        self.stats
            .bytes
            .store(self.total_bytes(), Ordering::Relaxed);
    }
}
