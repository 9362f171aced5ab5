//! Permits of the targets of a core: which requests may be in flight, and which of the waiting requests gets the next permit.
//!
//! Invariant: a target with a free permit has no waiters. A released permit is reserved for the head of the queue, which
//! takes it when its task runs. So a new request that finds a free permit never overtakes a waiter.

use crate::routing::indices::{ModelIndex, TargetSlot};
use crate::routing::limiter::Work;
use crate::routing::target_ref::TargetRef;
use crate::routing::targets::{TargetTable, Ticket};
use crate::routing::wait_queue::{QueueEntry, Wakeup};
use std::task::Waker;

impl TargetTable {
    /// Sets the number of cores that share the limits of targets, this core included.
    pub fn set_cores(&mut self, cores: u32) {
        self.cores = cores;
    }

    /// Whether the target has no free permit.
    pub fn is_full(&mut self, target_ref: &TargetRef) -> bool {
        target_ref.bounds.is_some() && {
            let cores = self.cores;
            let target = self.target(target_ref);
            target.set_bounds(target_ref.bounds, cores);
            target.is_full()
        }
    }

    /// Records a good response of an attempt. The limit of its target follows its latency.
    pub fn record_success(&mut self, ticket: &Ticket, work: Work, latency_us: u64, now_us: u64) {
        if let Some(Some(target)) = self.targets.get_mut(ticket.slot.get())
            && let Some(limiter) = &mut target.limiter
        {
            let in_flight = target.in_flight;
            limiter.record_response(work, latency_us, ticket.begun_us, in_flight, now_us);
            self.reserve_permits(ticket.slot);
        }
    }

    /// Records that the attempt's target reported overload.
    pub fn record_overload(&mut self, ticket: &Ticket, now_us: u64) {
        if let Some(Some(target)) = self.targets.get_mut(ticket.slot.get())
            && let Some(limiter) = &mut target.limiter
        {
            limiter.record_overload(ticket.begun_us, now_us);
        }
    }

    /// Whether the attempt's target has a concurrency limit.
    #[must_use]
    pub fn is_limited(&self, ticket: &Ticket) -> bool {
        let target = self.targets.get(ticket.slot.get()).and_then(Option::as_ref);
        target.is_some_and(|target| target.limiter.is_some())
    }

    /// Adds a request to the queue of its model, where at most `max` wait. Returns the id of the waiter; `None` when the
    /// queue is full.
    pub fn enqueue(&mut self, entry: QueueEntry<'_>, max: usize) -> Option<u64> {
        self.release_unused_permit();
        self.waiting.enter(entry, max)
    }

    /// Why the waiter was woken; `None` while it waits, and then `waker` is woken later.
    pub fn poll_queued(&mut self, id: u64, waker: &Waker) -> Option<Wakeup> {
        self.waiting.poll(id, waker)
    }

    /// Removes the waiter and makes its reserved permit free. The caller must begin an attempt before another task runs on
    /// this core; else the permit goes to the next waiter.
    pub fn take_permit(&mut self, id: u64, model: ModelIndex, waited_us: u64) {
        self.release_unused_permit();
        if let Some(Wakeup::Permit(slot)) = self.waiting.leave(id) {
            self.waiting.waited(model, waited_us);
            self.release(slot);
            self.unused_permit = Some(slot);
        }
    }

    /// Removes the waiter. A permit that was reserved for it goes to the next waiter.
    pub fn leave_queue(&mut self, id: u64) {
        if let Some(Wakeup::Permit(slot)) = self.waiting.leave(id) {
            self.release(slot);
            self.reserve_permits(slot);
        }
    }

    /// How long requests for the model waited for a permit of late, in microseconds.
    #[must_use]
    pub fn usual_wait_us(&self, model: ModelIndex) -> u64 {
        self.waiting.usual_wait_us(model)
    }

    /// How many requests for the model wait.
    #[must_use]
    pub fn queue_length(&self, model: ModelIndex) -> usize {
        self.waiting.len(model)
    }

    /// Offers a permit that was taken from the queue but not used to the next waiter.
    pub(crate) fn release_unused_permit(&mut self) {
        if let Some(slot) = self.unused_permit.take() {
            self.reserve_permits(slot);
        }
    }

    /// Reserves the free permits of a target for waiters.
    pub(crate) fn reserve_permits(&mut self, slot: TargetSlot) {
        while !self.waiting.is_empty()
            && let Some(Some(target)) = self.targets.get_mut(slot.get())
            && !target.is_full()
            && self.waiting.wake_next(slot)
        {
            target.reserved_permits += 1;
        }
    }

    /// Ends the reservation of a permit.
    fn release(&mut self, slot: TargetSlot) {
        if let Some(Some(target)) = self.targets.get_mut(slot.get()) {
            target.reserved_permits = target.reserved_permits.saturating_sub(1);
        }
    }
}
