//! Requests that wait for a permit of a target that is at its limit: by priority, and within a priority by arrival. Pure
//! except for the wakers of the waiting tasks. It must not know how many permits there are (`limiter.rs`, `permits.rs`).
//!
//! The next permit goes to the oldest waiter of the highest priority. One permit in [`OLDEST_EVERY`] goes to the oldest
//! waiter of all, so that low priorities are not starved. A full queue accepts a request of a higher priority by removing
//! the newest waiter of the lowest priority that has more than one in [`OLDEST_EVERY`] of the queue.

use crate::base::key_priority::KeyPriority;
use crate::routing::indices::{ModelIndex, TargetSlot};
use std::collections::{HashMap, VecDeque};
use std::task::Waker;

/// One permit in so many goes to the oldest waiter, whatever its priority.
pub(crate) const OLDEST_EVERY: u64 = 8;

/// Why a waiter is woken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wakeup {
    /// A permit of the target in this slot is reserved for it.
    Permit(TargetSlot),
    /// A request of a higher priority took its position in a full queue.
    Displaced,
}

/// A request that is to wait.
#[derive(Debug, Clone, Copy)]
pub struct QueueEntry<'a> {
    pub model: ModelIndex,
    pub priority: KeyPriority,
    /// Targets that it may be sent to.
    pub slots: &'a [TargetSlot],
}

#[derive(Debug)]
struct Waiter {
    /// Grows with each waiter of the core.
    id: u64,
    model: ModelIndex,
    slots: Box<[TargetSlot]>,
    waker: Option<Waker>,
}

/// Where a waiter is: the queue of its priority, and its position there.
#[derive(Debug, Clone, Copy)]
struct WaiterPosition {
    priority: usize,
    position: usize,
}

/// All requests that wait on a core.
#[derive(Debug, Default)]
pub(crate) struct WaitQueue {
    /// One queue for each priority, the lowest first; each ordered by id.
    queues: [VecDeque<Waiter>; KeyPriority::COUNT],
    /// Waiters that were woken and have not left yet, by id.
    woken: Vec<(u64, Wakeup)>,
    lengths: HashMap<ModelIndex, usize>,
    /// Moving average of how long requests waited for a permit, by model, in microseconds.
    waits_us: HashMap<ModelIndex, u64>,
    last_id: u64,
    /// Permits given to waiters.
    permits: u64,
}

/// A copy has the lengths of the queues but no waiters: `explain` needs no more.
impl Clone for WaitQueue {
    fn clone(&self) -> Self {
        Self {
            lengths: self.lengths.clone(),
            ..Self::default()
        }
    }
}

impl WaitQueue {
    /// How many requests for a model wait.
    #[must_use]
    pub(crate) fn len(&self, model: ModelIndex) -> usize {
        self.lengths.get(&model).copied().unwrap_or_default()
    }

    #[must_use]
    pub(crate) fn is_empty(&self) -> bool {
        self.queues.iter().all(VecDeque::is_empty)
    }

    /// Records how long a request waited for its permit.
    pub(crate) fn waited(&mut self, model: ModelIndex, time_us: u64) {
        let average = self.waits_us.entry(model).or_insert(time_us);
        // Each wait counts an eighth, as in TCP's smoothed RTT (RFC 6298, section 2.3).
        *average = (*average * 7 + time_us) / 8;
    }

    /// How long requests for a model waited for a permit of late, in microseconds.
    #[must_use]
    pub(crate) fn usual_wait_us(&self, model: ModelIndex) -> u64 {
        self.waits_us.get(&model).copied().unwrap_or_default()
    }

    /// Adds a waiter to the queue of its model, where at most `max` wait, and returns its id; `None` when the queue is full.
    pub(crate) fn enter(&mut self, entry: QueueEntry<'_>, max: usize) -> Option<u64> {
        let priority = entry.priority as usize;
        if self.len(entry.model) >= max && !self.displace(entry.model, priority, max) {
            return None;
        }
        self.last_id += 1;
        *self.lengths.entry(entry.model).or_default() += 1;
        self.queues.get_mut(priority)?.push_back(Waiter {
            id: self.last_id,
            model: entry.model,
            slots: entry.slots.into(),
            waker: None,
        });
        Some(self.last_id)
    }

    /// Why the waiter was woken; `None` while it waits, and then `waker` is woken later.
    pub(crate) fn poll(&mut self, id: u64, waker: &Waker) -> Option<Wakeup> {
        if let Some((_, wakeup)) = self.woken.iter().find(|(woken, _)| *woken == id) {
            return Some(*wakeup);
        }
        let waiter = self.find(id).and_then(|found| {
            let queue = self.queues.get_mut(found.priority)?;
            queue.get_mut(found.position)
        });
        let Some(waiter) = waiter else {
            // A request that is not in the queue would never be woken.
            return Some(Wakeup::Displaced);
        };
        let stored = waiter.waker.as_ref();
        if !stored.is_some_and(|stored| stored.will_wake(waker)) {
            waiter.waker = Some(waker.clone());
        }
        None
    }

    /// Removes the waiter; returns why it was woken, if it was.
    pub(crate) fn leave(&mut self, id: u64) -> Option<Wakeup> {
        if let Some(index) = self.woken.iter().position(|(woken, _)| *woken == id) {
            return Some(self.woken.swap_remove(index).1);
        }
        let found = self.find(id)?;
        self.take(found);
        None
    }

    /// Wakes the next waiter for a permit of the target in `slot`; false if no request waits for it.
    pub(crate) fn wake_next(&mut self, slot: TargetSlot) -> bool {
        let mut firsts = self
            .queues
            .iter()
            .enumerate()
            .filter_map(|(priority, queue)| {
                let waits_for_it = |waiter: &Waiter| waiter.slots.contains(&slot);
                let position = queue.iter().position(waits_for_it)?;
                let id = queue.get(position)?.id;
                Some((WaiterPosition { priority, position }, id))
            });
        let is_for_oldest = (self.permits + 1).is_multiple_of(OLDEST_EVERY);
        let next = if is_for_oldest {
            firsts.min_by_key(|(_, id)| *id)
        } else {
            firsts.next_back()
        };
        let Some((next, _)) = next else {
            return false;
        };
        self.permits += 1;
        self.wake(next, Wakeup::Permit(slot));
        true
    }

    /// Removes the newest waiter of the lowest priority below `priority` that has more than its share of the queue; false if
    /// none has.
    fn displace(&mut self, model: ModelIndex, priority: usize, max: usize) -> bool {
        let share = usize::try_from(OLDEST_EVERY).map_or(0, |every| max / every);
        let mut lower = self.queues.iter().take(priority).enumerate();
        let newest = lower.find_map(|(priority, queue)| {
            let is_of_model = |waiter: &Waiter| waiter.model == model;
            let count = queue.iter().filter(|waiter| is_of_model(waiter)).count();
            let position = queue.iter().rposition(is_of_model)?;
            (count > share).then_some(WaiterPosition { priority, position })
        });
        let Some(newest) = newest else {
            return false;
        };
        self.wake(newest, Wakeup::Displaced);
        true
    }

    fn wake(&mut self, waiter: WaiterPosition, wakeup: Wakeup) {
        if let Some(waiter) = self.take(waiter) {
            self.woken.push((waiter.id, wakeup));
            if let Some(waker) = waiter.waker {
                waker.wake();
            }
        }
    }

    fn take(&mut self, waiter: WaiterPosition) -> Option<Waiter> {
        let queue = self.queues.get_mut(waiter.priority)?;
        let waiter = queue.remove(waiter.position)?;
        if let Some(length) = self.lengths.get_mut(&waiter.model) {
            *length = length.saturating_sub(1);
        }
        Some(waiter)
    }

    fn find(&self, id: u64) -> Option<WaiterPosition> {
        let mut queues = self.queues.iter().enumerate();
        queues.find_map(|(priority, queue)| {
            let position = queue.binary_search_by_key(&id, |waiter| waiter.id).ok()?;
            Some(WaiterPosition { priority, position })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use KeyPriority::{High, Low, Normal};

    fn enter(waiting: &mut WaitQueue, priority: KeyPriority, slots: &[usize]) -> Option<u64> {
        let slots: Vec<TargetSlot> = slots.iter().map(|slot| TargetSlot::new(*slot)).collect();
        let entry = QueueEntry {
            model: ModelIndex::new(0),
            priority,
            slots: &slots,
        };
        waiting.enter(entry, 16)
    }

    fn wakeup(waiting: &mut WaitQueue, id: u64) -> Option<Wakeup> {
        waiting.poll(id, Waker::noop())
    }

    #[test]
    fn the_highest_priority_comes_first_and_within_it_the_oldest_waiter() {
        let mut waiting = WaitQueue::default();
        let order = [Low, High, Normal, High, Low];
        let ids: Vec<u64> = order
            .iter()
            .map(|priority| enter(&mut waiting, *priority, &[7]).unwrap())
            .collect();
        assert_eq!(waiting.len(ModelIndex::new(0)), 5);
        for expected in [1, 3, 2, 0, 4] {
            assert!(!waiting.wake_next(TargetSlot::new(6)));
            assert!(waiting.wake_next(TargetSlot::new(7)));
            let id = ids[expected];
            assert_eq!(
                wakeup(&mut waiting, id),
                Some(Wakeup::Permit(TargetSlot::new(7)))
            );
            assert_eq!(waiting.leave(id), Some(Wakeup::Permit(TargetSlot::new(7))));
            assert!(
                ids.iter()
                    .all(|other| *other == id || waiting.is_not_woken(*other))
            );
        }
        assert!(
            waiting.is_empty()
                && !waiting.wake_next(TargetSlot::new(7))
                && waiting.len(ModelIndex::new(0)) == 0
        );
    }

    impl WaitQueue {
        fn is_not_woken(&self, id: u64) -> bool {
            self.woken.iter().all(|(woken, _)| *woken != id)
        }
    }

    #[test]
    fn one_permit_in_eight_goes_to_the_oldest_waiter() {
        let mut waiting = WaitQueue::default();
        let low = enter(&mut waiting, Low, &[0]).unwrap();
        let mut permits = 0;
        while wakeup(&mut waiting, low).is_none() {
            enter(&mut waiting, High, &[0]).unwrap();
            assert!(waiting.wake_next(TargetSlot::new(0)));
            permits += 1;
        }
        assert_eq!(permits, OLDEST_EVERY);
    }

    #[test]
    fn a_higher_priority_displaces_the_newest_of_the_lowest_but_leaves_it_a_share() {
        let mut waiting = WaitQueue::default();
        let lows: Vec<u64> = (0..16)
            .map(|_| enter(&mut waiting, Low, &[0]).unwrap())
            .collect();
        assert_eq!(enter(&mut waiting, Low, &[0]), None);
        let highs = (0..32).filter(|_| enter(&mut waiting, High, &[0]).is_some());
        assert_eq!(highs.count(), 14);
        assert_eq!(waiting.len(ModelIndex::new(0)), 16);
        for (nth, low) in lows.iter().enumerate() {
            let expected = (nth >= 2).then_some(Wakeup::Displaced);
            assert_eq!(wakeup(&mut waiting, *low), expected);
        }
        // Each model has a queue of its own.
        let other = QueueEntry {
            model: ModelIndex::new(1),
            priority: Low,
            slots: &[TargetSlot::new(0)],
        };
        assert!(waiting.enter(other, 16).is_some());
    }

    #[test]
    fn a_waiter_that_leaves_is_not_woken_and_returns_its_permit() {
        let mut waiting = WaitQueue::default();
        let first = enter(&mut waiting, Normal, &[0, 1]).unwrap();
        let second = enter(&mut waiting, Normal, &[1]).unwrap();
        assert!(!waiting.wake_next(TargetSlot::new(2)));
        assert_eq!(waiting.leave(first), None);
        assert!(waiting.wake_next(TargetSlot::new(1)) && !waiting.wake_next(TargetSlot::new(1)));
        assert_eq!(
            waiting.leave(second),
            Some(Wakeup::Permit(TargetSlot::new(1)))
        );
        assert_eq!(wakeup(&mut waiting, second), Some(Wakeup::Displaced));
        assert_eq!(waiting.leave(second), None);
    }
}
