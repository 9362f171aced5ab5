//! The followers of one shared call as its lock sees them: how far each has read, and whom to wake.

use std::task::{Context, Waker};

/// One slot per follower; a slot is reused once its follower has left.
#[derive(Default)]
pub(crate) struct Readers {
    slots: Vec<Option<Reader>>,
    count: usize,
}

struct Reader {
    /// Offset in the stream of the next byte that it reads.
    offset: u64,
    waker: Option<Waker>,
}

impl Readers {
    pub(crate) fn count(&self) -> usize {
        self.count
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Adds a reader that starts at `offset`; returns its slot.
    pub(crate) fn add(&mut self, offset: u64) -> usize {
        let reader = Some(Reader {
            offset,
            waker: None,
        });
        self.count += 1;
        let free = self.slots.iter().position(Option::is_none);
        let slot = free.unwrap_or(self.slots.len());
        match self.slots.get_mut(slot) {
            Some(empty) => *empty = reader,
            None => self.slots.push(reader),
        }
        slot
    }

    pub(crate) fn remove(&mut self, slot: usize) {
        let reader = self.slots.get_mut(slot).and_then(Option::take);
        debug_assert!(reader.is_some(), "a reader leaves once");
        self.count -= usize::from(reader.is_some());
    }

    /// The offset of a reader, to be moved on as it reads.
    pub(crate) fn offset_mut(&mut self, slot: usize) -> Option<&mut u64> {
        let reader = self.slots.get_mut(slot)?.as_mut()?;
        Some(&mut reader.offset)
    }

    /// Wakes the reader at the next change.
    pub(crate) fn wait(&mut self, slot: usize, cx: &Context<'_>) {
        if let Some(Some(reader)) = self.slots.get_mut(slot) {
            reader.waker = Some(cx.waker().clone());
        }
    }

    /// The wakers of readers that wait; wake them once the lock is released.
    pub(crate) fn take_wakers(&mut self) -> Vec<Waker> {
        let readers = self.slots.iter_mut().flatten();
        readers.filter_map(|reader| reader.waker.take()).collect()
    }

    /// The offset of the reader that has read least.
    pub(crate) fn slowest(&self) -> Option<u64> {
        self.offsets().min()
    }

    /// The offset of the reader that has read most.
    pub(crate) fn fastest(&self) -> Option<u64> {
        self.offsets().max()
    }

    fn offsets(&self) -> impl Iterator<Item = u64> + '_ {
        self.slots.iter().flatten().map(|reader| reader.offset)
    }
}
