//! Reads entries back, the newest first, while requests are served. Must not know who asks.

use crate::cache::disk::disk_cache::{Deletion, Disk, Into};
use crate::cache::disk::folder::Folder;
use crate::cache::disk::record::{Embedding, Part, Record, SEGMENT_HEAD, parts, read};
use crate::cache::entry::Entry;
use crate::runtime::clock;
use std::collections::HashSet;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

/// How often the model is asked whether it is ready.
const MODEL_EVERY: Duration = Duration::from_millis(20);

/// Reads one folder back.
pub(crate) struct Loader {
    /// The folder.
    pub folder: Arc<Folder>,
    /// Where entries go.
    pub into: Into,
    /// Whose deletions count, also those of now.
    pub disk: Arc<Disk>,
}

/// How reading goes on.
#[derive(PartialEq)]
enum Next {
    Older,
    /// The memory is full: what is older stays where it is.
    Full,
    /// Something was lost, which may have been a deletion: what is older is given up.
    Distrust,
}

#[derive(Default)]
struct Progress {
    /// Entries of newer records: replaced, deleted or expired since.
    seen: HashSet<u128>,
    deletions: Vec<Deletion>,
    vectors: Vec<(Weak<Entry>, Embedding)>,
}

impl Loader {
    /// Reads the segments found at start.
    pub(crate) fn run(self, found: &[(u64, u64)]) {
        let mut progress = Progress::default();
        let mut next = Next::Older;
        for (number, _) in found.iter().rev() {
            match next {
                Next::Older => next = self.segment(*number, &mut progress),
                // At the next start nobody may see any more why.
                Next::Distrust => {
                    self.folder.remove(*number);
                }
                Next::Full => break,
            }
        }
        *self.disk.deletions.lock() = None;
        self.index(progress.vectors);
        self.disk.counts.loading.store(false, Ordering::Relaxed);
    }

    fn segment(&self, number: u64, progress: &mut Progress) -> Next {
        // The writer may have removed it for room.
        let Ok(bytes) = self.folder.read(number) else {
            return Next::Older;
        };
        let Some(rest) = bytes.strip_prefix(&SEGMENT_HEAD) else {
            let is_begun = bytes.len() >= SEGMENT_HEAD.len();
            self.folder.remove(number);
            if !is_begun {
                // Killed when it was begun.
                return Next::Older;
            }
            // Damaged, or of another version.
            self.disk.counts.damaged.fetch_add(1, Ordering::Relaxed);
            return Next::Distrust;
        };
        for part in parts(rest, &self.folder.secrets).into_iter().rev() {
            let record = match part {
                Part::Record(record) => read(record, &self.folder.secrets),
                Part::Damage => None,
            };
            match record {
                None => {
                    self.disk.counts.damaged.fetch_add(1, Ordering::Relaxed);
                    return Next::Distrust;
                }
                Some(Record::Deletion(Deletion::Entry(id))) => {
                    progress.seen.insert(id);
                }
                Some(Record::Deletion(deletion)) => {
                    if progress.deletions.last() != Some(&deletion) {
                        progress.deletions.push(deletion);
                    }
                }
                Some(Record::Entry(stored)) => {
                    let embedding = stored.embedding;
                    let is_newest = progress.seen.insert(stored.id());
                    let clocks = (clock::now(), clock::since_epoch());
                    let indexed = embedding.is_some() && self.into.semantic.is_some();
                    let entry = stored.into_entry(clocks, indexed, &self.into.pending_removals);
                    let Some(entry) = entry.filter(|_| is_newest).map(Arc::new) else {
                        self.disk.counts.skipped.fetch_add(1, Ordering::Relaxed);
                        continue;
                    };
                    if !self.into.store.has_room(entry.bytes()) {
                        return Next::Full;
                    }
                    self.store(&entry, embedding, progress);
                }
            }
        }
        Next::Older
    }

    fn store(&self, entry: &Arc<Entry>, embedding: Option<Embedding>, progress: &mut Progress) {
        // Held while storing: a deletion of now comes before, and is seen, or after, and finds it.
        let recent = self.disk.deletions.lock();
        let mut deletions = recent.iter().flatten().chain(&progress.deletions);
        let is_deleted = deletions.any(|deletion| deletion.means(entry));
        if is_deleted || !self.into.store.insert_absent(Arc::clone(entry)) {
            self.disk.counts.skipped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        drop(recent);
        self.disk.counts.recovered.fetch_add(1, Ordering::Relaxed);
        if let Some(embedding) = embedding {
            progress.vectors.push((Arc::downgrade(entry), embedding));
        }
    }

    /// Indexes the vectors once the model is known to be the one that made them.
    fn index(&self, vectors: Vec<(Weak<Entry>, Embedding)>) {
        let Some(semantic) = &self.into.semantic else {
            return;
        };
        while semantic.readiness() == Some(false) {
            std::thread::sleep(MODEL_EVERY);
        }
        for (entry, embedding) in vectors {
            if let Some(entry) = entry.upgrade() {
                semantic.restore(&entry, &embedding);
            }
        }
    }
}
