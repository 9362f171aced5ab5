//! One shard of the store: a dense list of entries, so that one can be picked at random, and a hash table of
//! their positions. It must not know how memory is accounted or what an entry's value is.

use crate::cache::entry::{Entry, SLOT_BYTES};
use hashbrown::HashTable;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Free slots that a shard never gives back.
const FREE_SLOTS_MAX: usize = 16;

#[derive(Default)]
pub(crate) struct Shard {
    positions: HashTable<u32>,
    /// The entries, in no order.
    pub slots: Vec<Slot>,
}

pub(crate) struct Slot {
    pub entry: Arc<Entry>,
    /// Number of the principal that the entry is accounted to.
    pub principal: u32,
    /// Eviction score, as the bits of an `f64`: the lowest goes first. It is stored here and not in the
    /// entry, so that comparing scores does not read the memory of entries.
    eviction_score: AtomicU64,
}

const _: () = assert!(SLOT_BYTES == 2 * (size_of::<Slot>() + size_of::<u32>() + 1) as u64);

impl Slot {
    /// A slot with eviction score 0.
    #[must_use]
    pub(crate) fn new(entry: Arc<Entry>, principal: u32) -> Self {
        Self {
            entry,
            principal,
            eviction_score: AtomicU64::default(),
        }
    }

    #[must_use]
    pub(crate) fn eviction_score(&self) -> f64 {
        f64::from_bits(self.eviction_score.load(Ordering::Relaxed))
    }

    /// Counts a use: the score becomes the store's `inflation` plus the entry's value.
    pub(crate) fn record_use(&self, inflation: f64) {
        let score = inflation + self.entry.count_use();
        self.eviction_score
            .store(score.to_bits(), Ordering::Relaxed);
    }
}

impl Shard {
    /// The position in `slots` of the entry with this id.
    pub(crate) fn position(&self, id: u128) -> Option<usize> {
        let found = self.positions.find(hash(id), |position| {
            let slot = self.slots.get(*position as usize);
            slot.is_some_and(|slot| slot.entry.id == id)
        });
        found.map(|position| *position as usize)
    }

    pub(crate) fn slot(&self, id: u128) -> Option<&Slot> {
        self.slots.get(self.position(id)?)
    }

    pub(crate) fn get(&self, id: u128) -> Option<&Arc<Entry>> {
        self.slot(id).map(|slot| &slot.entry)
    }

    /// Adds an entry whose id the shard does not have.
    pub(crate) fn add(&mut self, slot: Slot) {
        let id = slot.entry.id;
        debug_assert!(self.position(id).is_none(), "ids are unique in a shard");
        let position = u32::try_from(self.slots.len()).unwrap_or(u32::MAX);
        self.slots.push(slot);
        let slots = &self.slots;
        self.positions
            .insert_unique(hash(id), position, |position| hash_at(slots, *position));
    }

    /// Removes the slot at a position; the last slot takes that position.
    pub(crate) fn swap_remove(&mut self, position: usize) -> Option<Slot> {
        let id = self.slots.get(position)?.entry.id;
        let last = self.slots.len() - 1;
        let found = self
            .positions
            .find_entry(hash(id), |candidate| *candidate as usize == position);
        debug_assert!(found.is_ok(), "every slot is in the table");
        if let Ok(found) = found {
            found.remove();
        }
        let slot = self.slots.swap_remove(position);
        if let Some(moved) = self.slots.get(position) {
            let hash = hash(moved.entry.id);
            let moved_position = self
                .positions
                .find_mut(hash, |candidate| *candidate as usize == last);
            if let Some(moved_position) = moved_position {
                *moved_position = u32::try_from(position).unwrap_or(u32::MAX);
            }
        }
        Some(slot)
    }

    /// Frees memory once more than three quarters of it are unused.
    pub(crate) fn shrink_if_sparse(&mut self) {
        let len = self.slots.len();
        if self.slots.capacity() > 4 * len + FREE_SLOTS_MAX {
            self.slots.shrink_to(2 * len);
            let slots = &self.slots;
            self.positions
                .shrink_to(2 * len, |position| hash_at(slots, *position));
        }
    }
}

fn hash_at(slots: &[Slot], position: u32) -> u64 {
    let slot = slots.get(position as usize);
    slot.map_or(0, |slot| hash(slot.entry.id))
}

/// Half of the id: it is a keyed hash already.
fn hash(id: u128) -> u64 {
    id as u64
}
