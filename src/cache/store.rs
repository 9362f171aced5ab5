//! The store of both tiers: one for all cores, sharded, bounded in bytes, with absolute time to live.
//!
//! Eviction is GreedyDual-Size-Frequency: a use sets an entry's score to its value (uses × tokens saved ÷ bytes) plus the
//! score of the last evicted entry, so that entries that are no longer used lose against those that are. The lowest score
//! of a small sample is evicted: the cost of an insertion does not depend on the number of entries. Must not know: requests.

use crate::base::random::mix;
use crate::cache::disk::deletion::Deletion;
use crate::cache::disk::handle::DiskHandle;
use crate::cache::disk::record::StoredEmbedding;
use crate::cache::entry::Entry;
use crate::cache::key::Key;
use crate::cache::recent_deletions::{DeletionCount, RecentDeletions};
use crate::cache::response::not_stored::NotStored;
use crate::cache::shard::{Shard, Slot};
use futures_channel::oneshot;
use parking_lot::RwLock;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

/// Shards, so that cores seldom contend for a lock.
const SHARDS: usize = 16;
/// Entries compared to find one to evict: the lowest of 16 is among the lowest 16 % in 15 of 16 cases.
const SAMPLE_ENTRIES: usize = 16;
/// Neighbouring entries in a sample, for fewer reads of cold memory. Neighbours were not stored together:
/// the newest entry takes the slot of an evicted one.
const SAMPLE_RUN: usize = 4;
/// Samples drawn to find an entry of a principal over its share, which may hold few large entries.
const SAMPLES_MAX: usize = 16;

/// Stored responses, bounded in bytes.
pub struct Store {
    shards: [RwLock<Shard>; SHARDS],
    bytes_max: u64,
    /// A principal with more bytes than this gets room only from principals over their share, itself included.
    share_bytes: u64,
    bytes: AtomicU64,
    /// Score of the last evicted entry, as the bits of an `f64`; every use adds it to the entry's value.
    inflation: AtomicU64,
    picks: AtomicU64,
    evicted: AtomicU64,
    principals: RwLock<Principals>,
    disk: OnceLock<Arc<DiskHandle>>,
    deletions: RecentDeletions,
}

/// Entries that [`Store::delete`] removed.
pub(crate) struct Deleted {
    /// Entries removed from memory.
    pub entries: usize,
    /// With a cache folder: receives whether the deletion was written to the disk.
    pub on_disk: Option<oneshot::Receiver<bool>>,
}

/// Bytes by principal (tenant). Principals are configured, so there are few.
#[derive(Default)]
struct Principals {
    numbers: HashMap<Box<str>, u32, foldhash::fast::RandomState>,
    bytes: Vec<Arc<AtomicU64>>,
}

/// An entry that may be evicted.
struct EvictionCandidate {
    id: u128,
    score: f64,
    /// Its principal is over its share.
    is_over_share: bool,
}

impl Store {
    /// An empty store for at most `bytes_max` bytes, of which one principal retains at most the share
    /// `share_max` when others need room.
    #[must_use]
    pub fn new(bytes_max: u64, share_max: f64) -> Self {
        Self {
            shards: Default::default(),
            bytes_max,
            share_bytes: (bytes_max as f64 * share_max) as u64,
            bytes: AtomicU64::new(0),
            inflation: AtomicU64::new(0.0_f64.to_bits()),
            picks: AtomicU64::new(0),
            evicted: AtomicU64::new(0),
            principals: RwLock::default(),
            disk: OnceLock::new(),
            deletions: RecentDeletions::default(),
        }
    }

    /// Connects the store with the cache's folder: later calls of [`Store::persist`] and [`Store::delete`]
    /// reach the disk too.
    pub(crate) fn set_disk(&self, disk: Arc<DiskHandle>) {
        let is_first = self.disk.set(disk).is_ok();
        debug_assert!(is_first, "a store has one folder");
    }

    /// The cache's folder, if there is one.
    #[must_use]
    pub(crate) fn disk(&self) -> Option<&Arc<DiskHandle>> {
        self.disk.get()
    }

    /// Queues a stored entry to be written to the disk, with its vector if it has one. The caller calls this
    /// once, when it knows whether the entry has a vector.
    pub(crate) fn persist(&self, entry: &Arc<Entry>, embedding: Option<StoredEmbedding>) {
        if let Some(disk) = self.disk() {
            disk.persist(entry, embedding);
        }
    }

    /// The live entry for exactly this request.
    #[must_use]
    pub fn get(&self, key: &Key, now: Instant) -> Option<Arc<Entry>> {
        let shard = self.shard(key.exact).read();
        let slot = shard.slot(key.exact)?;
        if !slot.entry.is_live(now) {
            let expired = (!slot.entry.is_retained(now)).then(|| Arc::clone(&slot.entry));
            drop(shard);
            if let Some(entry) = expired {
                self.remove_same(&entry);
            }
            return None;
        }
        if !slot.entry.matches(key) {
            return None;
        }
        slot.record_use(self.inflation());
        Some(Arc::clone(&slot.entry))
    }

    /// The entry for exactly this request, up to `stale_for` after its time to live.
    #[must_use]
    pub(crate) fn get_stale(
        &self,
        key: &Key,
        stale_for: Duration,
        now: Instant,
    ) -> Option<Arc<Entry>> {
        let entry = self.shard(key.exact).read().get(key.exact).cloned()?;
        (entry.is_within(stale_for, now) && entry.matches(key)).then_some(entry)
    }

    /// Counts a use of an entry, which raises its eviction score.
    pub(crate) fn record_use(&self, entry: &Entry) {
        if let Some(slot) = self.shard(entry.id).read().slot(entry.id) {
            slot.record_use(self.inflation());
        }
    }

    /// Whether this entry, and not another one of the same key, is stored.
    #[must_use]
    pub(crate) fn contains(&self, entry: &Arc<Entry>) -> bool {
        let shard = self.shard(entry.id).read();
        shard
            .get(entry.id)
            .is_some_and(|stored| Arc::ptr_eq(stored, entry))
    }

    /// The entry with this id, expired or not.
    #[must_use]
    pub(crate) fn find(&self, id: u128) -> Option<Arc<Entry>> {
        self.shard(id).read().get(id).cloned()
    }

    /// Deletes an entry whose answer was reported as wrong, and its aliases: entries of the same scope with
    /// the same answer.
    pub(crate) fn delete_with_aliases(&self, wrong: &Entry) -> Deleted {
        self.delete(Deletion::Content {
            scope: wrong.scope,
            content: wrong.response.content().into(),
        })
    }

    /// Stores an entry in the place of one with the same key; evicts when full. False when its principal has no room.
    pub fn insert(&self, entry: Arc<Entry>) -> bool {
        self.insert_since(entry, self.deletions()).is_ok()
    }

    /// As [`Store::insert`], for the response to a request that began at `since`.
    ///
    /// # Errors
    /// There is no room, or a deletion since then covers the entry.
    pub(crate) fn insert_since(
        &self,
        entry: Arc<Entry>,
        since: DeletionCount,
    ) -> Result<(), NotStored> {
        if self.deletions.cover(&entry, since) {
            return Err(NotStored::Deleted);
        }
        self.remove(entry.id);
        self.put(entry, |shard, entry| {
            // Locked: a deletion either is known here, or has not yet come to this shard.
            if self.deletions.cover(entry, since) {
                return Err(NotStored::Deleted);
            }
            // Another core may have stored an entry with the same key in the meantime.
            let replaced = shard.position(entry.id);
            Ok(replaced.and_then(|position| shard.swap_remove(position)))
        })
    }

    /// As [`Store::insert`], but false when the store has an entry with the same key.
    pub(crate) fn insert_absent(&self, entry: Arc<Entry>) -> bool {
        let is_free = |shard: &mut Shard, entry: &Entry| match shard.position(entry.id) {
            Some(_) => Err(NotStored::NoRoom),
            None => Ok(None),
        };
        self.put(entry, is_free).is_ok()
    }

    /// How many deletions there were.
    #[must_use]
    pub fn deletions(&self) -> DeletionCount {
        self.deletions.count()
    }

    /// Whether `bytes` bytes are free.
    #[must_use]
    pub(crate) fn has_room(&self, bytes: u64) -> bool {
        self.bytes() + bytes <= self.bytes_max
    }

    /// Stores an entry, unless `make_place` refuses. It takes an entry with the same key out of the locked shard.
    fn put(
        &self,
        entry: Arc<Entry>,
        make_place: impl FnOnce(&mut Shard, &Entry) -> Result<Option<Slot>, NotStored>,
    ) -> Result<(), NotStored> {
        let (principal, held) = self.principal(entry.tenant());
        if !self.reserve(entry.bytes(), principal, &held) {
            return Err(NotStored::NoRoom);
        }
        held.fetch_add(entry.bytes(), Ordering::Relaxed);
        let slot = Slot::new(entry, principal);
        slot.record_use(self.inflation());
        let mut shard = self.shard(slot.entry.id).write();
        let (released, stored) = match make_place(&mut shard, &slot.entry) {
            Ok(replaced) => {
                shard.add(slot);
                (replaced, Ok(()))
            }
            Err(refusal) => (Some(slot), Err(refusal)),
        };
        drop(shard);
        if let Some(slot) = released {
            self.release(slot);
        }
        stored
    }

    /// Removes the entries that a deletion covers, for good: also after a restart, and for requests that began before.
    pub(crate) fn delete(&self, deletion: Deletion) -> Deleted {
        self.deletions.push(deletion.clone());
        if let Some(disk) = self.disk() {
            disk.begin_deletion(&deletion);
        }
        let entries = match &deletion {
            Deletion::Entry(id) => usize::from(self.remove(*id)),
            matching => self.remove_where(|entry| matching.covers(entry)),
        };
        let on_disk = self.disk().map(|disk| disk.end_deletion(deletion));
        Deleted { entries, on_disk }
    }

    /// Removes one entry from memory; false if it is not stored.
    fn remove(&self, id: u128) -> bool {
        let mut shard = self.shard(id).write();
        let position = shard.position(id);
        let removed = position.and_then(|position| shard.swap_remove(position));
        drop(shard);
        removed.map(|slot| self.release(slot)).is_some()
    }

    fn remove_same(&self, entry: &Arc<Entry>) {
        if self.contains(entry) {
            self.remove(entry.id);
        }
    }

    /// Removes the entries for which `matches` is true from memory, and returns their number.
    fn remove_where(&self, matches: impl Fn(&Entry) -> bool) -> usize {
        let mut removed = Vec::new();
        for shard in &self.shards {
            let mut shard = shard.write();
            for position in (0..shard.slots.len()).rev() {
                let slot = shard.slots.get(position);
                if slot.is_some_and(|slot| matches(&slot.entry)) {
                    removed.extend(shard.swap_remove(position));
                }
            }
            shard.shrink_if_sparse();
        }
        let count = removed.len();
        removed.into_iter().for_each(|slot| self.release(slot));
        count
    }

    /// Removes expired entries. When memory is short, also removes entries that stay only to be served stale:
    /// they go before live entries.
    pub(crate) fn sweep(&self, now: Instant) {
        let is_short = self.bytes() > self.bytes_max() / 8 * 7;
        self.remove_where(|entry| !entry.is_live(now) && (is_short || !entry.is_retained(now)));
    }

    /// Accounts `delta_bytes` of memory that belong to no single entry; negative when memory was freed.
    pub(crate) fn charge(&self, delta_bytes: i64) {
        if delta_bytes == 0 {
            return;
        }
        self.bytes
            .fetch_add(delta_bytes.cast_unsigned(), Ordering::Relaxed);
        while self.bytes() > self.bytes_max && self.evict(None) {}
    }

    /// Entries stored.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shards
            .iter()
            .map(|shard| shard.read().slots.len())
            .sum()
    }

    /// Whether nothing is stored.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes accounted.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Bytes allowed.
    #[must_use]
    pub fn bytes_max(&self) -> u64 {
        self.bytes_max
    }

    /// Entries evicted to make room.
    #[must_use]
    pub fn evicted(&self) -> u64 {
        self.evicted.load(Ordering::Relaxed)
    }

    /// Bytes of the entries of a principal.
    #[cfg(test)]
    fn bytes_of(&self, tenant: &str) -> u64 {
        let principals = self.principals.read();
        let number = principals.numbers.get(tenant);
        let held = number.and_then(|number| principals.bytes.get(*number as usize));
        held.map_or(0, |held| held.load(Ordering::Relaxed))
    }

    fn shard(&self, id: u128) -> &RwLock<Shard> {
        // The high bits, because the hash table of a shard uses the low ones.
        &self.shards[(id >> 124) as usize % SHARDS]
    }

    fn principal(&self, tenant: &str) -> (u32, Arc<AtomicU64>) {
        let known = |principals: &Principals| {
            let number = *principals.numbers.get(tenant)?;
            Some((number, Arc::clone(principals.bytes.get(number as usize)?)))
        };
        if let Some(found) = known(&self.principals.read()) {
            return found;
        }
        let mut principals = self.principals.write();
        if let Some(found) = known(&principals) {
            return found;
        }
        let number = u32::try_from(principals.bytes.len()).unwrap_or(u32::MAX);
        principals.numbers.insert(tenant.into(), number);
        let held = Arc::<AtomicU64>::default();
        principals.bytes.push(Arc::clone(&held));
        (number, held)
    }

    /// Reserves `bytes` and evicts entries until they are free. A principal over its share gets room only
    /// from principals over their share.
    fn reserve(&self, bytes: u64, principal: u32, held: &AtomicU64) -> bool {
        if bytes > self.bytes_max {
            return false;
        }
        loop {
            let taken = self.bytes();
            if taken + bytes <= self.bytes_max {
                let swapped = self.bytes.compare_exchange_weak(
                    taken,
                    taken + bytes,
                    Ordering::Relaxed,
                    Ordering::Relaxed,
                );
                if swapped.is_ok() {
                    return true;
                }
                continue;
            }
            let is_over_share = held.load(Ordering::Relaxed) + bytes > self.share_bytes;
            if !self.evict(is_over_share.then_some(principal)) {
                return false;
            }
        }
    }

    /// Evicts one entry: of a principal over its share if the sample has one. `over_share` is a principal
    /// that needs room for more than its share; then only entries of such principals, itself included, are
    /// evicted. False when there is no such entry.
    fn evict(&self, over_share: Option<u32>) -> bool {
        for _ in 0..SAMPLES_MAX {
            let Some(victim) = self.pick(over_share) else {
                return false;
            };
            if over_share.is_some() && !victim.is_over_share {
                continue;
            }
            self.raise_inflation(victim.score);
            if self.remove(victim.id) {
                self.evicted.fetch_add(1, Ordering::Relaxed);
            }
            return true;
        }
        false
    }

    /// The entry with the lowest score of a sample from the whole store; entries of principals over their
    /// share come before all others.
    fn pick(&self, over_share: Option<u32>) -> Option<EvictionCandidate> {
        let mut random = mix(self.picks.fetch_add(1, Ordering::Relaxed), 1);
        let first = random as usize % SHARDS;
        let (mut victim, mut lowest, mut seen) = (None, None, 0);
        let principals = self.principals.read();
        for offset in 0..SHARDS {
            let shard = self.shards[(first + offset) % SHARDS].read();
            let wanted = shard.slots.len().min(SAMPLE_ENTRIES - seen);
            let runs = (0..wanted.div_ceil(SAMPLE_RUN)).flat_map(|_| {
                random = mix(random, 1);
                let start = random as usize % shard.slots.len();
                let (head, tail) = shard.slots.split_at(start);
                tail.iter().chain(head).take(SAMPLE_RUN)
            });
            let mut found = None;
            for slot in runs {
                seen += 1;
                let held = principals.bytes.get(slot.principal as usize);
                let is_over_share = over_share == Some(slot.principal)
                    || held.is_some_and(|held| held.load(Ordering::Relaxed) > self.share_bytes);
                let score = slot.eviction_score();
                let is_lower = |(lowest_over, lowest_score): (bool, f64)| {
                    (is_over_share, lowest_score) > (lowest_over, score)
                };
                if lowest.is_none_or(is_lower) {
                    lowest = Some((is_over_share, score));
                    found = Some(slot);
                }
            }
            // Entries are seldom in the processor's caches: only the memory of this one is read.
            if let (Some((is_over_share, score)), Some(slot)) = (lowest, found) {
                victim = Some(EvictionCandidate {
                    id: slot.entry.id,
                    score,
                    is_over_share,
                });
            }
            if seen >= SAMPLE_ENTRIES {
                break;
            }
        }
        victim
    }

    fn inflation(&self) -> f64 {
        f64::from_bits(self.inflation.load(Ordering::Relaxed))
    }

    /// Raises the score that new entries start from to the score of an evicted entry.
    fn raise_inflation(&self, evicted_score: f64) {
        debug_assert!(evicted_score >= 0.0);
        // The bits of numbers that are not negative are in the order of the numbers.
        self.inflation
            .fetch_max(evicted_score.to_bits(), Ordering::Relaxed);
    }

    fn release(&self, slot: Slot) {
        let bytes = slot.entry.bytes();
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
        let principals = self.principals.read();
        if let Some(held) = principals.bytes.get(slot.principal as usize) {
            held.fetch_sub(bytes, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
#[path = "store_tests.rs"]
mod tests;
