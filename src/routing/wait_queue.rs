//! Who waits for a place at a target that is at its limit: by priority, and by turn within. Pure but for
//! the waker of who waits. It must not know how many places there are (`limiter.rs`, `fleet.rs`).
//!
//! The next place goes to the highest priority, the first that came first; but one place in
//! [`OLDEST_EVERY`] to who has waited longest, so that nobody waits for ever behind those above. A line
//! that is full takes one of a higher priority instead of the last of the lowest that has more than the
//! same share of the line.

use crate::base::key_priority::KeyPriority;
use crate::routing::indices::{ModelIndex, TargetSlot};
use std::collections::{HashMap, VecDeque};
use std::task::Waker;

/// One place in so many goes to who has waited longest, whatever the priority.
pub(crate) const OLDEST_EVERY: u64 = 8;

/// What somebody who waits was called for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wakeup {
    /// A place at the target in this slot is kept for it.
    Permit(TargetSlot),
    /// One of a higher priority came, and the line was full.
    Displaced,
}

/// Who wants to wait.
#[derive(Debug, Clone, Copy)]
pub struct QueueEntry<'a> {
    /// The place of the model it asks for.
    pub model: ModelIndex,
    /// Its priority.
    pub priority: KeyPriority,
    /// Slots of the targets that it may be sent to.
    pub slots: &'a [TargetSlot],
}

#[derive(Debug)]
struct Waiter {
    id: u64,
    model: ModelIndex,
    slots: Box<[TargetSlot]>,
    waker: Option<Waker>,
}

/// All who wait on a core.
#[derive(Debug, Default)]
pub(crate) struct WaitQueue {
    /// By priority, the lowest first; each by id, which grows.
    queues: [VecDeque<Waiter>; KeyPriority::COUNT],
    woken: Vec<(u64, Wakeup)>,
    lengths: HashMap<ModelIndex, usize>,
    /// How long those who were called of late had waited, by model, in microseconds.
    waits_us: HashMap<ModelIndex, u64>,
    last_id: u64,
    permits: u64,
}

/// A copy knows how many wait, but nobody waits in it.
impl Clone for WaitQueue {
    fn clone(&self) -> Self {
        Self {
            lengths: self.lengths.clone(),
            ..Self::default()
        }
    }
}

impl WaitQueue {
    /// How many wait for a model.
    #[must_use]
    pub(crate) fn len(&self, model: ModelIndex) -> usize {
        self.lengths.get(&model).copied().unwrap_or_default()
    }

    /// Whether nobody waits.
    #[must_use]
    pub(crate) fn is_empty(&self) -> bool {
        self.queues.iter().all(VecDeque::is_empty)
    }

    /// Records how long one who was called had waited.
    pub(crate) fn waited(&mut self, model: ModelIndex, time_us: u64) {
        let usual = self.waits_us.entry(model).or_insert(time_us);
        // Each counts an eighth, as TCP smooths its round trip (RFC 6298, section 2.3).
        *usual = (*usual * 7 + time_us) / 8;
    }

    /// How long those who were called of late had waited for a model, in microseconds.
    #[must_use]
    pub(crate) fn usual_wait_us(&self, model: ModelIndex) -> u64 {
        self.waits_us.get(&model).copied().unwrap_or_default()
    }

    /// Takes a place in the line of a model, where at most `max` wait; `None` when there is none.
    pub(crate) fn enter(&mut self, one: QueueEntry<'_>, max: usize) -> Option<u64> {
        let level = one.priority as usize;
        if self.len(one.model) >= max && !self.displace(one.model, level, max) {
            return None;
        }
        self.last_id += 1;
        *self.lengths.entry(one.model).or_default() += 1;
        self.queues.get_mut(level)?.push_back(Waiter {
            id: self.last_id,
            model: one.model,
            slots: one.slots.into(),
            waker: None,
        });
        Some(self.last_id)
    }

    /// What this one was called for; else `waker` is woken when it is.
    pub(crate) fn poll(&mut self, id: u64, waker: &Waker) -> Option<Wakeup> {
        if let Some((_, call)) = self.woken.iter().find(|(called, _)| *called == id) {
            return Some(*call);
        }
        let found = self.find(id).and_then(|(line, at)| {
            let waiter = self.queues.get_mut(line)?.get_mut(at)?;
            let is_same = waiter
                .waker
                .as_ref()
                .is_some_and(|one| one.will_wake(waker));
            if !is_same {
                waiter.waker = Some(waker.clone());
            }
            Some(())
        });
        // Who is not in line will never be called.
        found.is_none().then_some(Wakeup::Displaced)
    }

    /// Leaves: what it was called for, if it was.
    pub(crate) fn leave(&mut self, id: u64) -> Option<Wakeup> {
        if let Some(at) = self.woken.iter().position(|(called, _)| *called == id) {
            return Some(self.woken.swap_remove(at).1);
        }
        let (line, at) = self.find(id)?;
        self.take(line, at);
        None
    }

    /// Calls the next one for a place at the target in `slot`; false if nobody waits for it.
    pub(crate) fn wake_next(&mut self, slot: TargetSlot) -> bool {
        let first = |line: &VecDeque<Waiter>| {
            let at = line.iter().position(|one| one.slots.contains(&slot))?;
            Some((at, line.get(at)?.id))
        };
        let firsts = self.queues.iter().map(first).enumerate();
        let mut firsts = firsts.filter_map(|(line, found)| found.map(|(at, id)| (line, at, id)));
        let is_for_oldest = (self.permits + 1).is_multiple_of(OLDEST_EVERY);
        let next = if is_for_oldest {
            firsts.min_by_key(|(_, _, id)| *id)
        } else {
            firsts.next_back()
        };
        let Some((line, at, _)) = next else {
            return false;
        };
        self.permits += 1;
        self.wake(line, at, Wakeup::Permit(slot));
        true
    }

    /// Sends away the last of the lowest priority under `level` that has more than its share; false if
    /// none has.
    fn displace(&mut self, model: ModelIndex, level: usize, max: usize) -> bool {
        let share = usize::try_from(OLDEST_EVERY).map_or(0, |every| max / every);
        let mut lower = self.queues.iter().take(level).enumerate();
        let last = lower.find_map(|(line, waiters)| {
            let is_of_model = |one: &&Waiter| one.model == model;
            let has_more = waiters.iter().filter(is_of_model).count() > share;
            let at = waiters.iter().rposition(|one| one.model == model)?;
            has_more.then_some((line, at))
        });
        let Some((line, at)) = last else {
            return false;
        };
        self.wake(line, at, Wakeup::Displaced);
        true
    }

    fn wake(&mut self, line: usize, at: usize, call: Wakeup) {
        if let Some(waiter) = self.take(line, at) {
            self.woken.push((waiter.id, call));
            if let Some(waker) = waiter.waker {
                waker.wake();
            }
        }
    }

    fn take(&mut self, line: usize, at: usize) -> Option<Waiter> {
        let waiter = self.queues.get_mut(line)?.remove(at)?;
        if let Some(length) = self.lengths.get_mut(&waiter.model) {
            *length = length.saturating_sub(1);
        }
        Some(waiter)
    }

    fn find(&self, id: u64) -> Option<(usize, usize)> {
        let places = self.queues.iter().enumerate();
        let mut found = places.filter_map(|(line, waiters)| {
            let at = waiters.binary_search_by_key(&id, |one| one.id).ok()?;
            Some((line, at))
        });
        found.next()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use KeyPriority::{High, Low, Normal};

    fn enter(waiting: &mut WaitQueue, priority: KeyPriority, slots: &[usize]) -> Option<u64> {
        let slots: Vec<TargetSlot> = slots.iter().map(|slot| TargetSlot::new(*slot)).collect();
        let one = QueueEntry {
            model: ModelIndex::new(0),
            priority,
            slots: &slots,
        };
        waiting.enter(one, 16)
    }

    fn called(waiting: &mut WaitQueue, id: u64) -> Option<Wakeup> {
        waiting.poll(id, Waker::noop())
    }

    #[test]
    fn the_highest_comes_first_and_within_the_first() {
        let mut waiting = WaitQueue::default();
        let order = [Low, High, Normal, High, Low];
        let ids: Vec<u64> = order
            .iter()
            .map(|one| enter(&mut waiting, *one, &[7]).unwrap())
            .collect();
        assert_eq!(waiting.len(ModelIndex::new(0)), 5);
        for expected in [1, 3, 2, 0, 4] {
            assert!(!waiting.wake_next(TargetSlot::new(6)));
            assert!(waiting.wake_next(TargetSlot::new(7)));
            let id = ids[expected];
            assert_eq!(
                called(&mut waiting, id),
                Some(Wakeup::Permit(TargetSlot::new(7)))
            );
            assert_eq!(waiting.leave(id), Some(Wakeup::Permit(TargetSlot::new(7))));
            assert!(
                ids.iter()
                    .all(|one| *one == id || waiting.leave_nothing(*one))
            );
        }
        assert!(
            waiting.is_empty()
                && !waiting.wake_next(TargetSlot::new(7))
                && waiting.len(ModelIndex::new(0)) == 0
        );
    }

    impl WaitQueue {
        /// Whether nobody else was called.
        fn leave_nothing(&self, id: u64) -> bool {
            self.woken.iter().all(|(called, _)| *called != id)
        }
    }

    #[test]
    fn one_place_in_eight_goes_to_who_has_waited_longest() {
        let mut waiting = WaitQueue::default();
        let low = enter(&mut waiting, Low, &[0]).unwrap();
        let mut places = 0;
        while called(&mut waiting, low).is_none() {
            enter(&mut waiting, High, &[0]).unwrap();
            assert!(waiting.wake_next(TargetSlot::new(0)));
            places += 1;
        }
        assert_eq!(places, OLDEST_EVERY);
    }

    #[test]
    fn a_full_line_takes_a_higher_one_for_the_last_of_the_lowest_but_leaves_them_a_share() {
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
            assert_eq!(called(&mut waiting, *low), expected);
        }
        // The line of another model is another.
        let other = QueueEntry {
            model: ModelIndex::new(1),
            priority: Low,
            slots: &[TargetSlot::new(0)],
        };
        assert!(waiting.enter(other, 16).is_some());
    }

    #[test]
    fn who_leaves_is_not_called_and_gives_back_what_it_was_called_for() {
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
        assert_eq!(called(&mut waiting, second), Some(Wakeup::Displaced));
        assert_eq!(waiting.leave(second), None);
    }
}
