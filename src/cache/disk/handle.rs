//! The store's handle on the cache's folder: queues entries and deletions for the thread that writes them.
//!
//! No caller waits for the disk: an entry for which the queue has no room stays in memory only, and is
//! counted. It must not know requests, the store, or the threads behind the queue.

use crate::cache::disk::deletion::Deletion;
use crate::cache::disk::record::StoredEmbedding;
use crate::cache::entry::Entry;
use crate::cache::key::HashSecret;
use crossbeam_channel::{Receiver, Sender, TrySendError};
use futures_channel::oneshot;
use parking_lot::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

/// Entries that may wait for the disk: a burst of about a second.
pub(crate) const QUEUE_MAX: usize = 1024;
/// Deletions that may wait to be written; a further one is reported as not written.
const DELETIONS_MAX: usize = 65_536;
/// How long [`DiskHandle::flush`] waits for room in the queue.
const FLUSH_ROOM_TIMEOUT: Duration = Duration::from_secs(1);

/// A request to the thread that writes.
pub(crate) enum WriteRequest {
    Entry {
        entry: Weak<Entry>,
        embedding: Option<Box<StoredEmbedding>>,
    },
    /// Deletions are pending.
    Wake,
    /// Receives whether everything queued before was written.
    Flush(oneshot::Sender<bool>),
}

/// Counters and gauges of the folder, for metrics.
#[derive(Default)]
pub(crate) struct DiskStats {
    /// Segments in the folder.
    pub segments: AtomicU64,
    /// Bytes of these segments.
    pub bytes: AtomicU64,
    /// Records written.
    pub written: AtomicU64,
    /// Entries that stayed in memory only, because the queue was full.
    pub queue_full: AtomicU64,
    /// Entries too large for a segment.
    pub too_large: AtomicU64,
    /// Records whose write failed.
    pub failed: AtomicU64,
    /// Why the last write failed.
    pub failure: Mutex<Option<String>>,
    /// Entries recovered from the folder.
    pub recovered: AtomicU64,
    /// Entries not recovered: expired, deleted, replaced, or without room.
    pub skipped: AtomicU64,
    /// Damaged positions found in segments.
    pub damaged: AtomicU64,
    /// Whether entries are still being recovered.
    pub loading: AtomicBool,
}

impl DiskStats {
    /// Keeps the reason of a write that failed, for the log.
    pub(crate) fn note_failure(&self, error: &std::io::Error) {
        *self.failure.lock() = Some(error.to_string());
    }
}

/// A deletion to be written.
pub(crate) struct PendingDeletion {
    pub deletion: Deletion,
    /// Receives whether it was written.
    pub done: oneshot::Sender<bool>,
}

/// The store's handle on the cache's folder.
pub(crate) struct DiskHandle {
    secret: HashSecret,
    sender: Sender<WriteRequest>,
    pub stats: Arc<DiskStats>,
    /// Bytes that segments may take.
    pub bytes_max: u64,
    /// Deletions since the start, for the thread that recovers older entries; `None` once it is done.
    pub deletions: Mutex<Option<Vec<Deletion>>>,
    /// Deletions to be written.
    pub pending_deletions: Arc<Mutex<Vec<PendingDeletion>>>,
}

impl DiskHandle {
    /// A handle, and the queue that the writing thread reads. `secret` is the secret of the keys in the folder.
    pub(crate) fn new(secret: HashSecret, bytes_max: u64) -> (Self, Receiver<WriteRequest>) {
        let (sender, receiver) = crossbeam_channel::bounded(QUEUE_MAX);
        let handle = Self {
            secret,
            sender,
            stats: Arc::default(),
            bytes_max,
            deletions: Mutex::new(Some(Vec::new())),
            pending_deletions: Arc::default(),
        };
        handle.stats.loading.store(true, Ordering::Relaxed);
        (handle, receiver)
    }

    /// The secret of the keys in the folder; a restart needs the same one to find entries.
    #[must_use]
    pub(crate) fn secret(&self) -> &HashSecret {
        &self.secret
    }

    /// Queues an entry to be written; never waits.
    pub(crate) fn persist(&self, entry: &Arc<Entry>, embedding: Option<StoredEmbedding>) {
        let request = WriteRequest::Entry {
            entry: Arc::downgrade(entry),
            embedding: embedding.map(Box::new),
        };
        if let Err(TrySendError::Full(_)) = self.sender.try_send(request) {
            self.stats.queue_full.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The store calls this before it removes entries: from now on they are not recovered either.
    pub(crate) fn begin_deletion(&self, deletion: &Deletion) {
        if let Some(deletions) = &mut *self.deletions.lock() {
            deletions.push(deletion.clone());
        }
    }

    /// The store calls this after it removed the entries. Queues the deletion to be written and never
    /// waits; the receiver gets whether it was written.
    pub(crate) fn end_deletion(&self, deletion: Deletion) -> oneshot::Receiver<bool> {
        let (done, written) = oneshot::channel();
        let mut pending = self.pending_deletions.lock();
        if pending.len() < DELETIONS_MAX {
            pending.push(PendingDeletion { deletion, done });
        }
        drop(pending);
        // When the queue is full, the writing thread is awake and looks for deletions anyway.
        let _ = self.sender.try_send(WriteRequest::Wake);
        written
    }

    /// The receiver gets true once everything queued before this call is written.
    pub(crate) fn flush(&self) -> oneshot::Receiver<bool> {
        let (done, written) = oneshot::channel();
        let request = WriteRequest::Flush(done);
        // Without room the sender is dropped, which the receiver sees as an error.
        let _ = self.sender.send_timeout(request, FLUSH_ROOM_TIMEOUT);
        written
    }

    /// Requests in the queue.
    #[must_use]
    pub(crate) fn queued(&self) -> usize {
        self.sender.len()
    }
}
