//! The store of both tiers: one for all cores, sharded, bounded in bytes, with absolute time to live.
//!
//! What is worth least goes first when room is needed: uses × tokens saved ÷ bytes, and what was not
//! used for long loses against what is (greedy dual, size and frequency). The least of a small sample
//! is taken, so that an insertion costs the same however much is stored. Must not know: requests.

use crate::base::random::mix;
use crate::cache::disk::disk_cache::{Deletion, Disk};
use crate::cache::disk::record::Embedding;
use crate::cache::entry::{Entry, Key};
use crate::cache::shard::{Shard, Slot};
use futures_channel::oneshot;
use parking_lot::RwLock;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

/// Shards, so that cores seldom meet at a lock.
const SHARDS: usize = 16;
/// Entries compared to find one to evict: the worst of 16 is among the worst 16 % in 15 of 16 cases.
const SAMPLE: usize = 16;
/// Of these, so many lie side by side, for fewer reads of cold memory. What lies side by side was not
/// stored together: the place of an evicted entry is taken by the newest.
const SAMPLE_RUN: usize = 4;
/// Samples taken for one of a principal over its share, who may hold few large entries among many.
const SAMPLES_MAX: usize = 16;

/// The store.
pub struct Store {
    shards: [RwLock<Shard>; SHARDS],
    bytes_max: u64,
    /// Bytes of memory beyond which a principal makes room at its own cost.
    share_bytes: u64,
    bytes: AtomicU64,
    /// Worth of what was evicted last, as the bits of an `f64`: what new worth starts from.
    age: AtomicU64,
    picks: AtomicU64,
    evicted: AtomicU64,
    principals: RwLock<Principals>,
    disk: OnceLock<Arc<Disk>>,
}

/// Who holds how much. Principals are configured, so there are few.
#[derive(Default)]
struct Principals {
    numbers: HashMap<Box<str>, u32, foldhash::fast::RandomState>,
    bytes: Vec<Arc<AtomicU64>>,
}

/// An entry that may be evicted.
struct Candidate {
    id: u128,
    worth: f64,
    over: bool,
}

impl Store {
    /// An empty store for at most `bytes_max` bytes, of which one principal keeps at most the share
    /// `share_max` when others want room.
    #[must_use]
    #[allow(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss
    )]
    pub fn new(bytes_max: u64, share_max: f64) -> Self {
        Self {
            shards: Default::default(),
            bytes_max,
            share_bytes: (bytes_max as f64 * share_max) as u64,
            bytes: AtomicU64::new(0),
            age: AtomicU64::new(0.0_f64.to_bits()),
            picks: AtomicU64::new(0),
            evicted: AtomicU64::new(0),
            principals: RwLock::default(),
            disk: OnceLock::new(),
        }
    }

    /// Has what is kept and deleted from now on written too.
    pub fn write_to(&self, disk: Arc<Disk>) {
        let _ = self.disk.set(disk);
    }

    /// The disk side, if there is one.
    #[must_use]
    pub fn disk(&self) -> Option<&Arc<Disk>> {
        self.disk.get()
    }

    /// Has a stored entry written, with its vector if it has one. To be called once it is known whether
    /// it has.
    pub fn keep(&self, entry: &Arc<Entry>, embedding: Option<Embedding>) {
        if let Some(disk) = self.disk() {
            disk.keep(entry, embedding);
        }
    }

    /// The live entry that answers exactly this request.
    #[must_use]
    pub fn get(&self, key: &Key, now: Instant) -> Option<Arc<Entry>> {
        let shard = self.shard(key.exact).read();
        let slot = shard.slot(key.exact)?;
        if !slot.entry.is_live(now) {
            let gone = (!slot.entry.is_kept(now)).then(|| Arc::clone(&slot.entry));
            drop(shard);
            if let Some(entry) = gone {
                self.remove_same(&entry);
            }
            return None;
        }
        if !slot.entry.is_for(key) {
            return None;
        }
        slot.use_at(self.age());
        Some(Arc::clone(&slot.entry))
    }

    /// The entry for exactly this request, up to `stale_for` past its time.
    #[must_use]
    pub fn get_stale(&self, key: &Key, stale_for: Duration, now: Instant) -> Option<Arc<Entry>> {
        let entry = self.shard(key.exact).read().get(key.exact).cloned()?;
        (entry.is_within(stale_for, now) && entry.is_for(key)).then_some(entry)
    }

    /// Counts a use of an entry: it is worth more from now on.
    pub fn used(&self, entry: &Entry) {
        if let Some(slot) = self.shard(entry.id).read().slot(entry.id) {
            slot.use_at(self.age());
        }
    }

    /// Whether this very entry is still stored.
    #[must_use]
    pub fn holds(&self, entry: &Arc<Entry>) -> bool {
        let shard = self.shard(entry.id).read();
        shard
            .get(entry.id)
            .is_some_and(|stored| Arc::ptr_eq(stored, entry))
    }

    /// The entry of this id, expired or not.
    #[must_use]
    pub fn find(&self, id: u128) -> Option<Arc<Entry>> {
        self.shard(id).read().get(id).cloned()
    }

    /// As [`Store::delete`], for an entry whose answer was called wrong and its aliases: entries of the same
    /// scope with the same answer.
    pub fn remove_with_aliases(&self, wrong: &Entry) -> (usize, Option<oneshot::Receiver<bool>>) {
        self.delete(Deletion::Answer {
            scope: wrong.scope,
            content: wrong.response.content().into(),
        })
    }

    /// Stores an entry, over one of the same key; evicts when full. False when there is no room for
    /// it: larger than all memory, or than its principal can make room for.
    pub fn insert(&self, entry: Arc<Entry>) -> bool {
        self.remove(entry.id);
        self.put(entry, false)
    }

    /// As [`Store::insert`], unless there is one of that key.
    pub fn insert_absent(&self, entry: Arc<Entry>) -> bool {
        self.put(entry, true)
    }

    /// Whether so many bytes are free.
    #[must_use]
    pub fn has_room(&self, bytes: u64) -> bool {
        self.bytes() + bytes <= self.bytes_max
    }

    fn put(&self, entry: Arc<Entry>, only_absent: bool) -> bool {
        let (principal, held) = self.principal(entry.tenant());
        if !self.reserve(entry.bytes(), principal, &held) {
            return false;
        }
        held.fetch_add(entry.bytes(), Ordering::Relaxed);
        let slot = Slot::new(entry, principal);
        slot.use_at(self.age());
        let mut shard = self.shard(slot.entry.id).write();
        // Another core may have stored the same meanwhile.
        let twin = shard.place(slot.entry.id);
        let (loser, is_stored) = match twin {
            Some(_) if only_absent => (Some(slot), false),
            twin => {
                let loser = twin.and_then(|at| shard.take(at));
                shard.add(slot);
                (loser, true)
            }
        };
        drop(shard);
        if let Some(slot) = loser {
            self.release(slot);
        }
        is_stored
    }

    /// Removes what an operator wants gone, for good: it does not come back after a restart. Tells how
    /// many there were and, with a disk side, when the deletion is on it.
    pub fn delete(&self, deletion: Deletion) -> (usize, Option<oneshot::Receiver<bool>>) {
        if let Some(disk) = self.disk() {
            disk.begin_deletion(&deletion);
        }
        let removed = match &deletion {
            Deletion::Entry(id) => usize::from(self.remove(*id)),
            matching => self.remove_where(|entry| matching.means(entry)),
        };
        let on_disk = self.disk().map(|disk| disk.end_deletion(deletion));
        (removed, on_disk)
    }

    /// Removes one entry from memory; false if it is not there.
    fn remove(&self, id: u128) -> bool {
        let mut shard = self.shard(id).write();
        let taken = shard.place(id).and_then(|at| shard.take(at));
        drop(shard);
        taken.map(|slot| self.release(slot)).is_some()
    }

    fn remove_same(&self, entry: &Arc<Entry>) {
        if self.holds(entry) {
            self.remove(entry.id);
        }
    }

    /// Removes the entries that `matches` from memory, and tells how many.
    fn remove_where(&self, matches: impl Fn(&Entry) -> bool) -> usize {
        let mut removed = Vec::new();
        for shard in &self.shards {
            let mut shard = shard.write();
            for at in (0..shard.slots.len()).rev() {
                let found = shard.slots.get(at).is_some_and(|slot| matches(&slot.entry));
                removed.extend(found.then(|| shard.take(at)).flatten());
            }
            shard.give_back();
        }
        let count = removed.len();
        removed.into_iter().for_each(|slot| self.release(slot));
        count
    }

    /// Removes what has expired, and what is kept beyond if memory is short: it goes before what lives.
    pub fn sweep(&self, now: Instant) {
        let is_short = self.bytes() > self.bytes_max() / 8 * 7;
        self.remove_where(|entry| !entry.is_live(now) && (is_short || !entry.is_kept(now)));
    }

    /// Accounts memory that belongs to no single entry, or no longer does (`due` below 0).
    pub fn charge(&self, due: i64) {
        if due == 0 {
            return;
        }
        self.bytes.fetch_add(due.cast_unsigned(), Ordering::Relaxed);
        while self.bytes() > self.bytes_max && self.evict(None) {}
    }

    /// Entries held.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shards
            .iter()
            .map(|shard| shard.read().slots.len())
            .sum()
    }

    /// True when nothing is stored.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes accounted now.
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

    /// Bytes that a principal holds.
    #[must_use]
    pub fn bytes_of(&self, tenant: &str) -> u64 {
        let principals = self.principals.read();
        let number = principals.numbers.get(tenant);
        let held = number.and_then(|number| principals.bytes.get(*number as usize));
        held.map_or(0, |held| held.load(Ordering::Relaxed))
    }

    fn shard(&self, id: u128) -> &RwLock<Shard> {
        // The high bits: the low ones are used within a shard.
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

    /// Takes room for `bytes`, evicting what it takes. One who is over its share gets room only from
    /// those who are.
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
            let over = held.load(Ordering::Relaxed) + bytes > self.share_bytes;
            if !self.evict(over.then_some(principal)) {
                return false;
            }
        }
    }

    /// Evicts one entry: of a principal over its share if the sample has one. `greedy` wants more
    /// than its share, and gets room from such principals and itself only. False when there is none.
    fn evict(&self, greedy: Option<u32>) -> bool {
        for _ in 0..SAMPLES_MAX {
            let Some(victim) = self.pick(greedy) else {
                return false;
            };
            if greedy.is_some() && !victim.over {
                continue;
            }
            self.grow_old(victim.worth);
            if self.remove(victim.id) {
                self.evicted.fetch_add(1, Ordering::Relaxed);
            }
            return true;
        }
        false
    }

    /// The least worthy of a sample from the whole store, those over their share before all others.
    fn pick(&self, greedy: Option<u32>) -> Option<Candidate> {
        let mut random = mix(self.picks.fetch_add(1, Ordering::Relaxed), 1);
        let first = random as usize % SHARDS;
        let (mut worst, mut least, mut seen) = (None, None, 0);
        let principals = self.principals.read();
        for turn in 0..SHARDS {
            let shard = self.shards[(first + turn) % SHARDS].read();
            let wanted = shard.slots.len().min(SAMPLE - seen);
            let runs = (0..wanted.div_ceil(SAMPLE_RUN)).flat_map(|_| {
                random = mix(random, 1);
                let at = random as usize % shard.slots.len();
                let (head, tail) = shard.slots.split_at(at);
                tail.iter().chain(head).take(SAMPLE_RUN)
            });
            let mut found = None;
            for slot in runs {
                seen += 1;
                let held = principals.bytes.get(slot.principal as usize);
                let over = greedy == Some(slot.principal)
                    || held.is_some_and(|held| held.load(Ordering::Relaxed) > self.share_bytes);
                let worth = slot.worth();
                if least.is_none_or(|least: (bool, f64)| (over, least.1) > (least.0, worth)) {
                    least = Some((over, worth));
                    found = Some(slot);
                }
            }
            // Of the entries, which are seldom in the processor's caches, only this one is touched.
            if let (Some((over, worth)), Some(slot)) = (least, found) {
                let id = slot.entry.id;
                worst = Some(Candidate { id, worth, over });
            }
            if seen >= SAMPLE {
                break;
            }
        }
        worst
    }

    fn age(&self) -> f64 {
        f64::from_bits(self.age.load(Ordering::Relaxed))
    }

    /// What is worth less than what was just evicted must not come in above it.
    fn grow_old(&self, worth: f64) {
        // Bits of numbers that are not negative are in the order of the numbers.
        self.age.fetch_max(worth.to_bits(), Ordering::Relaxed);
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
