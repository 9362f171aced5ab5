//! One shard of the store: a dense list, so that entries can be picked at random, and where in it each
//! one is. It must not know bytes, or what makes an entry worth more than another.

use crate::cache::entry::Entry;
use hashbrown::HashTable;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Slots that are kept however few are used.
const KEPT: usize = 16;

/// A part of the store.
#[derive(Default)]
pub(crate) struct Shard {
    places: HashTable<u32>,
    /// The entries, in no order.
    pub slots: Vec<Slot>,
}

/// A stored entry.
pub(crate) struct Slot {
    /// The entry.
    pub entry: Arc<Entry>,
    /// Number of whom it is accounted to.
    pub principal: u32,
    /// What keeps it from being evicted, as the bits of an `f64`. Here and not in the entry, so that
    /// comparing entries touches none of them.
    worth: AtomicU64,
}

impl Slot {
    /// A slot of an entry that is worth nothing yet.
    #[must_use]
    pub(crate) fn new(entry: Arc<Entry>, principal: u32) -> Self {
        Self {
            entry,
            principal,
            worth: AtomicU64::default(),
        }
    }

    /// What keeps it from being evicted.
    #[must_use]
    pub(crate) fn worth(&self) -> f64 {
        f64::from_bits(self.worth.load(Ordering::Relaxed))
    }

    /// Counts a use, of a store in which what was evicted last was worth `age`.
    pub(crate) fn use_at(&self, age: f64) {
        let worth = age + self.entry.count_use();
        self.worth.store(worth.to_bits(), Ordering::Relaxed);
    }
}

/// Bytes that the store takes for an entry: its slot, its place, and what growing tables leave free.
pub(crate) const SLOT_BYTES: u64 = 2 * (size_of::<Slot>() + size_of::<u32>() + 1) as u64;

impl Shard {
    /// Where in `slots` the entry of this id is.
    pub(crate) fn place(&self, id: u128) -> Option<usize> {
        let found = self.places.find(hash(id), |at| {
            let slot = self.slots.get(*at as usize);
            slot.is_some_and(|slot| slot.entry.id == id)
        });
        found.map(|at| *at as usize)
    }

    /// The slot of this id.
    pub(crate) fn slot(&self, id: u128) -> Option<&Slot> {
        self.slots.get(self.place(id)?)
    }

    /// The entry of this id.
    pub(crate) fn get(&self, id: u128) -> Option<&Arc<Entry>> {
        self.slot(id).map(|slot| &slot.entry)
    }

    /// Adds an entry of an id that is not there.
    pub(crate) fn add(&mut self, slot: Slot) {
        let id = slot.entry.id;
        let at = u32::try_from(self.slots.len()).unwrap_or(u32::MAX);
        self.slots.push(slot);
        let slots = &self.slots;
        self.places.insert_unique(hash(id), at, |at| {
            slots
                .get(*at as usize)
                .map_or(0, |slot| hash(slot.entry.id))
        });
    }

    /// Takes out what is at a place; the last one is there now.
    pub(crate) fn take(&mut self, at: usize) -> Option<Slot> {
        let (id, last) = (self.slots.get(at)?.entry.id, self.slots.len() - 1);
        if let Ok(found) = self
            .places
            .find_entry(hash(id), |place| *place as usize == at)
        {
            found.remove();
        }
        let slot = self.slots.swap_remove(at);
        if let Some(moved) = self.slots.get(at) {
            let hash = hash(moved.entry.id);
            if let Some(place) = self.places.find_mut(hash, |place| *place as usize == last) {
                *place = u32::try_from(at).unwrap_or(u32::MAX);
            }
        }
        Some(slot)
    }

    /// Gives memory back once three quarters are unused.
    pub(crate) fn give_back(&mut self) {
        let len = self.slots.len();
        if self.slots.capacity() > 4 * len + KEPT {
            self.slots.shrink_to(2 * len);
            let slots = &self.slots;
            self.places.shrink_to(2 * len, |at| {
                slots
                    .get(*at as usize)
                    .map_or(0, |slot| hash(slot.entry.id))
            });
        }
    }
}

/// An id is a keyed hash already.
#[allow(clippy::cast_possible_truncation)]
fn hash(id: u128) -> u64 {
    id as u64
}
