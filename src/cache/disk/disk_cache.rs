//! Entries that outlive the process: appended to segments by a thread, read back at the next start.
//!
//! Nothing waits for the disk: what does not fit the queue is in memory only, and counted. What was
//! deleted stays deleted: deletions are records too, and where one may have been lost, everything older
//! is given up. Must not know requests, nor how entries are found.

use crate::cache::disk::folder::Folder;
use crate::cache::disk::loader;
use crate::cache::disk::record::Embedding;
use crate::cache::disk::writer;

use crate::cache::entry::{Entry, HashSecret, PendingRemovals};
use crate::cache::semantic::Semantic;
use crate::cache::store::Store;
use crossbeam_channel::{Sender, TrySendError};
use futures_channel::oneshot;
use parking_lot::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

/// Entries that may wait for the disk: a burst of a second or so.
pub(crate) const QUEUE_MAX: usize = 1024;
/// Deletions that may wait to be written; one beyond is told as not written.
const DELETIONS_MAX: usize = 65_536;
/// How long an operator's command waits for room in the queue.
const ROOM_WITHIN: Duration = Duration::from_secs(1);
/// Segments that the space is divided into: removing the oldest loses about an eighth.
pub(crate) const SEGMENTS: u64 = 8;

/// What an operator removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Deletion {
    /// One entry.
    Entry(u128),
    /// All of this model and this key; without either, all.
    Matching {
        /// Model asked for.
        model: Option<String>,
        /// Virtual key.
        key: Option<String>,
    },
    /// All of a scope with this answer.
    Answer {
        /// Hash of the scope.
        scope: u128,
        /// The answer's text.
        content: Box<str>,
    },
}

impl Deletion {
    /// Whether it meant this entry.
    #[must_use]
    pub fn means(&self, entry: &Entry) -> bool {
        match self {
            Self::Entry(id) => entry.id == *id,
            Self::Answer { scope, content } => {
                entry.scope == *scope && entry.response.content() == &**content
            }
            Self::Matching { model, key } => {
                let of_model = |model: &String| *entry.model.text() == **model;
                let of_key = |key: &String| {
                    let owner = entry.key.map(crate::base::names::Name::text);
                    owner.as_deref() == Some(key)
                };
                model.as_ref().is_none_or(of_model) && key.as_ref().is_none_or(of_key)
            }
        }
    }
}

type Work = Box<dyn FnOnce() + Send>;

pub(crate) enum Message {
    Keep(Weak<Entry>, Option<Box<Embedding>>),
    /// Look for deletions.
    Wake,
    Flush(oneshot::Sender<bool>),
}

/// What happened, for metrics.
#[derive(Default)]
pub struct Counts {
    /// Segments there are.
    pub segments: AtomicU64,
    /// Their bytes.
    pub bytes: AtomicU64,
    /// Records written.
    pub written: AtomicU64,
    /// Entries kept in memory only, because the queue was full.
    pub queue_full: AtomicU64,
    /// Entries too large for a segment.
    pub too_large: AtomicU64,
    /// Writes that failed.
    pub failed: AtomicU64,
    /// Entries read back.
    pub recovered: AtomicU64,
    /// Entries not read back: expired, deleted, replaced, or without room.
    pub skipped: AtomicU64,
    /// Places where a segment was damaged.
    pub damaged: AtomicU64,
    /// Whether reading back goes on.
    pub loading: AtomicBool,
}

/// The disk side of the store.
pub struct Disk {
    secret: HashSecret,
    sender: Sender<Message>,
    /// Numbers for metrics.
    pub counts: Arc<Counts>,
    /// Bytes that segments may take.
    pub bytes_max: u64,
    /// Deletions since the start, for whoever still reads older entries back; `None` once that is done.
    pub(crate) deletions: Mutex<Option<Vec<Deletion>>>,
    pending: Arc<Pending>,
}

/// Deletions to be written, and whom to tell.
pub(crate) type Pending = Mutex<Vec<(Deletion, oneshot::Sender<bool>)>>;

/// What a disk side needs of the rest, to read entries back.
pub struct Into {
    /// Where entries go.
    pub store: Arc<Store>,
    /// Where their vectors go.
    pub semantic: Option<Arc<Semantic>>,
    /// What new entries tell their end to.
    pub pending_removals: Arc<PendingRemovals>,
}

impl Disk {
    /// Starts to write to the folder, and to read back what is in it, each on a thread. `into.store`
    /// writes here from now on.
    ///
    /// # Errors
    /// No thread could be started.
    pub fn start(folder: Folder, bytes_max: u64, into: Into) -> Result<Arc<Self>, String> {
        let (sender, receiver) = crossbeam_channel::bounded(QUEUE_MAX);
        let disk = Arc::new(Self {
            secret: folder.secrets.keys.clone(),
            sender,
            counts: Arc::default(),
            bytes_max,
            deletions: Mutex::new(Some(Vec::new())),
            pending: Arc::default(),
        });
        disk.counts.loading.store(true, Ordering::Relaxed);
        into.store.write_to(Arc::clone(&disk));
        let folder = Arc::new(folder);
        let found = folder.segments();
        let writer = writer::Writer::new(
            Arc::clone(&folder),
            &found,
            bytes_max,
            Arc::clone(&disk.counts),
            Arc::clone(&disk.pending),
        );
        let store = Arc::downgrade(&into.store);
        let loader = loader::Loader {
            folder,
            into,
            disk: Arc::clone(&disk),
        };
        let threads: [(&str, Work); 2] = [
            (
                "cache-write",
                Box::new(move || writer.run(&receiver, &store)),
            ),
            ("cache-read", Box::new(move || loader.run(&found))),
        ];
        for (name, work) in threads {
            let spawned = std::thread::Builder::new().name(name.into()).spawn(work);
            spawned.map_err(|error| format!("no thread for the cache's folder: {error}"))?;
        }
        Ok(disk)
    }

    /// The secret that keys have, so that a restart finds them again.
    #[must_use]
    pub fn secret(&self) -> &HashSecret {
        &self.secret
    }

    /// Has an entry written; never waits.
    pub fn keep(&self, entry: &Arc<Entry>, embedding: Option<Embedding>) {
        let message = Message::Keep(Arc::downgrade(entry), embedding.map(Box::new));
        if let Err(TrySendError::Full(_)) = self.sender.try_send(message) {
            self.counts.queue_full.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// To be told before entries are removed: from now on they are not read back either.
    pub fn begin_deletion(&self, deletion: &Deletion) {
        if let Some(deletions) = &mut *self.deletions.lock() {
            deletions.push(deletion.clone());
        }
    }

    /// To be told after they were: has the deletion written; never waits. Tells whether it is on the disk.
    pub fn end_deletion(&self, deletion: Deletion) -> oneshot::Receiver<bool> {
        let (done, told) = oneshot::channel();
        let mut pending = self.pending.lock();
        if pending.len() < DELETIONS_MAX {
            pending.push((deletion, done));
        }
        drop(pending);
        // Where the queue is full, the writer is awake.
        let _ = self.sender.try_send(Message::Wake);
        told
    }

    /// Tells when everything handed over before is on the disk.
    pub fn flush(&self) -> oneshot::Receiver<bool> {
        let (done, told) = oneshot::channel();
        let _ = self.sender.send_timeout(Message::Flush(done), ROOM_WITHIN);
        told
    }

    /// Entries that wait.
    #[must_use]
    pub fn queued(&self) -> usize {
        self.sender.len()
    }
}
