//! Recovers entries from the cache's folder, the newest first, while requests are served.
//! It must not know requests.

use crate::cache::disk::deletion::Deletion;
use crate::cache::disk::folder::{Folder, Segment};
use crate::cache::disk::handle::DiskHandle;
use crate::cache::disk::record::{
    Clocks, Record, SEGMENT_HEAD, SegmentPart, StoredEmbedding, StoredEntry, read_record,
    split_segment,
};
use crate::cache::entry::Entry;
use crate::cache::persistence::tiers::CacheTiers;
use std::collections::HashSet;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

/// Interval at which the loader checks whether the model is ready.
const MODEL_POLL_INTERVAL: Duration = Duration::from_millis(20);

/// Recovers the entries of one folder.
pub(crate) struct Loader {
    pub folder: Arc<Folder>,
    pub tiers: CacheTiers,
    /// Its deletions since the start apply to older entries too.
    pub disk: Arc<DiskHandle>,
}

/// What happens with the next older segment.
#[derive(PartialEq)]
enum NextSegment {
    Read,
    /// The store is full: older segments stay in the folder.
    Skip,
    /// A record was lost that may have been a deletion: older segments are discarded.
    Discard,
}

#[derive(Default)]
struct Progress {
    /// Ids in newer records: entries that were replaced, deleted or expired since.
    seen: HashSet<u128>,
    deletions: Vec<Deletion>,
    vectors: Vec<(Weak<Entry>, StoredEmbedding)>,
}

impl Loader {
    /// Reads the segments that were in the folder at start.
    pub(crate) fn run(self, segments: &[Segment]) {
        let mut progress = Progress::default();
        let mut next = NextSegment::Read;
        for segment in segments.iter().rev() {
            match next {
                NextSegment::Read => next = self.read_segment(segment.number, &mut progress),
                // Removed from the folder too: at the next start the damage may no longer be visible.
                NextSegment::Discard => self.folder.remove(segment.number),
                NextSegment::Skip => break,
            }
        }
        *self.disk.deletions.lock() = None;
        self.index(progress.vectors);
        self.disk.stats.loading.store(false, Ordering::Relaxed);
    }

    fn read_segment(&self, number: u64, progress: &mut Progress) -> NextSegment {
        // The writer may have removed it to make room.
        let Ok(bytes) = self.folder.read(number) else {
            return NextSegment::Read;
        };
        let Some(rest) = bytes.strip_prefix(&SEGMENT_HEAD) else {
            let has_head = bytes.len() >= SEGMENT_HEAD.len();
            self.folder.remove(number);
            if !has_head {
                // The process was killed when it began the segment.
                return NextSegment::Read;
            }
            // Damaged, or of another version.
            self.disk.stats.damaged.fetch_add(1, Ordering::Relaxed);
            return NextSegment::Discard;
        };
        for part in split_segment(rest, &self.folder.secrets).into_iter().rev() {
            let record = match part {
                SegmentPart::Record(record) => read_record(record, &self.folder.secrets),
                SegmentPart::Damage => None,
            };
            match record {
                None => {
                    self.disk.stats.damaged.fetch_add(1, Ordering::Relaxed);
                    return NextSegment::Discard;
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
                    if self.recover(*stored, progress) == NextSegment::Skip {
                        return NextSegment::Skip;
                    }
                }
            }
        }
        NextSegment::Read
    }

    /// Stores one entry, unless it is outdated. [`NextSegment::Skip`] when the store is full.
    fn recover(&self, stored: StoredEntry, progress: &mut Progress) -> NextSegment {
        let embedding = stored.embedding;
        let is_newest = progress.seen.insert(stored.id());
        let indexed = embedding.is_some() && self.tiers.semantic.is_some();
        let entry = stored.into_entry(Clocks::read(), indexed, &self.tiers.pending_removals);
        let Some(entry) = entry.filter(|_| is_newest).map(Arc::new) else {
            self.disk.stats.skipped.fetch_add(1, Ordering::Relaxed);
            return NextSegment::Read;
        };
        if !self.tiers.store.has_room(entry.bytes()) {
            return NextSegment::Skip;
        }
        // Locked while the entry is stored: a concurrent deletion comes before, and is seen here, or comes
        // after, and removes the entry from the store.
        let recent = self.disk.deletions.lock();
        let mut deletions = recent.iter().flatten().chain(&progress.deletions);
        let is_deleted = deletions.any(|deletion| deletion.covers(&entry));
        if is_deleted || !self.tiers.store.insert_absent(Arc::clone(&entry)) {
            self.disk.stats.skipped.fetch_add(1, Ordering::Relaxed);
            return NextSegment::Read;
        }
        drop(recent);
        self.disk.stats.recovered.fetch_add(1, Ordering::Relaxed);
        if let Some(embedding) = embedding {
            progress.vectors.push((Arc::downgrade(&entry), embedding));
        }
        NextSegment::Read
    }

    /// Indexes the vectors once the model is loaded, if it is the model that made them.
    fn index(&self, vectors: Vec<(Weak<Entry>, StoredEmbedding)>) {
        let Some(semantic) = &self.tiers.semantic else {
            return;
        };
        while semantic.readiness() == Some(false) {
            std::thread::sleep(MODEL_POLL_INTERVAL);
        }
        for (entry, embedding) in vectors {
            if let Some(entry) = entry.upgrade() {
                semantic.restore(&entry, &embedding);
            }
        }
    }
}
