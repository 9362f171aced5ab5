//! The thread that appends records, begins segments and removes the oldest. Must not know what for.

use crate::cache::disk::disk_cache::{Counts, Deletion, Message, Pending, SEGMENTS};
use crate::cache::disk::folder::Folder;
use crate::cache::disk::record::Embedding;
use crate::cache::disk::record::{SEGMENT_HEAD, write_deletion, write_entry};
use crate::cache::entry::Entry;
use crate::cache::store::Store;
use crate::runtime::clock;
use crossbeam_channel::Receiver;
use futures_channel::oneshot;
use std::collections::VecDeque;
use std::fs::File;
use std::io::Write;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};

/// Records are gathered up to this many bytes while more wait.
const BATCH_BYTES: usize = 256 * 1024;

/// Writes to one folder.
pub(crate) struct Writer {
    folder: Arc<Folder>,
    /// Numbers and bytes, the oldest first.
    segments: VecDeque<(u64, u64)>,
    open: Option<File>,
    next: u64,
    bytes_max: u64,
    batch: Vec<u8>,
    /// Records in the batch.
    records: u64,
    /// Who waits for the batch to be written.
    waiting: Vec<(oneshot::Sender<bool>, bool)>,
    counts: Arc<Counts>,
    pending: Arc<Pending>,
}

impl Writer {
    /// A writer beside the segments found, of which none is written to again.
    pub(crate) fn new(
        folder: Arc<Folder>,
        found: &[(u64, u64)],
        bytes_max: u64,
        counts: Arc<Counts>,
        pending: Arc<Pending>,
    ) -> Self {
        let writer = Self {
            folder,
            segments: found.iter().copied().collect(),
            open: None,
            next: found.last().map_or(1, |(number, _)| number + 1),
            bytes_max,
            batch: Vec::new(),
            records: 0,
            waiting: Vec::new(),
            counts,
            pending,
        };
        writer.tell();
        writer
    }

    /// Works until nobody can send any more.
    pub(crate) fn run(mut self, receiver: &Receiver<Message>, store: &Weak<Store>) {
        while let Ok(message) = receiver.recv() {
            self.take(message, store);
            while self.batch.len() < BATCH_BYTES {
                match receiver.try_recv() {
                    Ok(message) => self.take(message, store),
                    Err(_) => break,
                }
            }
            // Behind the entries: each of these was taken out of the store before.
            let deletions = std::mem::take(&mut *self.pending.lock());
            for (deletion, done) in deletions {
                self.add_deletion(&deletion);
                self.waiting.push((done, true));
            }
            self.write_batch();
        }
    }

    fn take(&mut self, message: Message, store: &Weak<Store>) {
        match message {
            Message::Keep(entry, embedding) => {
                let (entry, store) = (entry.upgrade(), store.upgrade());
                if let (Some(entry), Some(store)) = (entry, store) {
                    // What was removed meanwhile must not come behind the record of its deletion.
                    if store.holds(&entry) {
                        self.add_entry(&entry, embedding.as_deref());
                    }
                }
            }
            Message::Wake => {}
            Message::Flush(done) => self.waiting.push((done, false)),
        }
    }

    fn add_entry(&mut self, entry: &Entry, embedding: Option<&Embedding>) {
        let start = self.batch.len();
        let clocks = (clock::now(), clock::since_epoch());
        let secrets = &self.folder.secrets;
        write_entry(&mut self.batch, secrets, entry, embedding, clocks);
        if (self.batch.len() - start) as u64 > self.segment_bytes_max() {
            self.batch.truncate(start);
            self.counts.too_large.fetch_add(1, Ordering::Relaxed);
        } else {
            self.records += 1;
        }
    }

    fn add_deletion(&mut self, deletion: &Deletion) {
        // Twice: damage to one leaves the other.
        for _ in 0..2 {
            write_deletion(&mut self.batch, &self.folder.secrets, deletion);
            self.records += 1;
        }
    }

    fn segment_bytes_max(&self) -> u64 {
        self.bytes_max / SEGMENTS
    }

    fn write_batch(&mut self) {
        let batch = std::mem::take(&mut self.batch);
        let is_written = batch.is_empty() || self.append(&batch);
        let records = std::mem::take(&mut self.records);
        let counter = match is_written {
            true => &self.counts.written,
            false => &self.counts.failed,
        };
        counter.fetch_add(records, Ordering::Relaxed);
        let wants_sync = self.waiting.iter().any(|(_, sync)| *sync);
        let is_synced = !wants_sync
            || self
                .open
                .as_ref()
                .is_some_and(|file| file.sync_data().is_ok());
        for (done, sync) in self.waiting.drain(..) {
            let _ = done.send(is_written && (!sync || is_synced));
        }
        // The memory is used again, unless a large answer made it large.
        if batch.capacity() <= 2 * BATCH_BYTES {
            self.batch = batch;
            self.batch.clear();
        }
        self.tell();
    }

    /// Appends to the newest segment, or a new one; makes room first. What could not be written whole
    /// is cut off again.
    fn append(&mut self, batch: &[u8]) -> bool {
        let bytes = batch.len() as u64;
        let newest = self.segments.back().map_or(0, |(_, bytes)| *bytes);
        if newest + bytes > self.segment_bytes_max() {
            self.open = None;
        }
        self.make_room(bytes + SEGMENT_HEAD.len() as u64);
        if self.open.is_none() && !self.begin_segment() {
            return false;
        }
        let (Some(file), Some((_, size))) = (&mut self.open, self.segments.back_mut()) else {
            return false;
        };
        if file.write_all(batch).is_ok() {
            *size += bytes;
            return true;
        }
        if file.set_len(*size).is_err() {
            self.open = None;
        }
        false
    }

    fn begin_segment(&mut self) -> bool {
        let number = self.next;
        self.next += 1;
        let Ok(mut file) = self.folder.create(number) else {
            return false;
        };
        let is_begun = file.write_all(&SEGMENT_HEAD).is_ok();
        self.segments.push_back((number, SEGMENT_HEAD.len() as u64));
        self.open = is_begun.then_some(file);
        is_begun
    }

    /// Removes the oldest segments until `bytes` fit beside the others.
    fn make_room(&mut self, bytes: u64) {
        while self.total() + bytes > self.bytes_max {
            let Some((number, _)) = self.segments.pop_front() else {
                return;
            };
            if self.segments.is_empty() {
                self.open = None;
            }
            self.folder.remove(number);
        }
    }

    fn total(&self) -> u64 {
        self.segments.iter().map(|(_, bytes)| bytes).sum()
    }

    fn tell(&self) {
        let segments = self.segments.len() as u64;
        self.counts.segments.store(segments, Ordering::Relaxed);
        self.counts.bytes.store(self.total(), Ordering::Relaxed);
    }
}
