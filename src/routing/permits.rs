//! Places at the targets of a core: who is under way, who is called from the line for the next one.
//!
//! A target that has a place has nobody in line for it: whenever one becomes free, it is kept for the next
//! one in line, who takes it when it runs. So who comes anew and finds a place passes nobody.

use crate::routing::indices::{ModelIndex, TargetSlot};
use crate::routing::limiter::Work;
use crate::routing::target_ref::TargetRef;
use crate::routing::targets::{TargetTable, Ticket};
use crate::routing::wait_queue::{QueueEntry, Wakeup};
use std::task::Waker;

impl TargetTable {
    /// Shares the limits of targets with so many cores, itself included.
    pub fn set_cores(&mut self, cores: u32) {
        self.cores = cores;
    }

    /// Whether as many requests are under way at the target as may be.
    pub fn is_full(&mut self, target_ref: &TargetRef) -> bool {
        target_ref.bounds.is_some() && {
            let cores = self.cores;
            let target = self.target(target_ref);
            target.bound(target_ref.bounds, cores);
            target.is_full()
        }
    }

    /// A good answer of an attempt, which took so long: its target's limit goes by that.
    pub fn record_success(&mut self, ticket: &Ticket, work: Work, latency_us: u64, now_us: u64) {
        if let Some(Some(target)) = self.targets.get_mut(ticket.slot.get())
            && let Some(limiter) = &mut target.limiter
        {
            let under_way = target.in_flight;
            limiter.answered(work, latency_us, ticket.begun_us, under_way, now_us);
            self.reserve_permits(ticket.slot);
        }
    }

    /// The attempt's target said that it is overloaded.
    pub fn record_overload(&mut self, ticket: &Ticket, now_us: u64) {
        if let Some(Some(target)) = self.targets.get_mut(ticket.slot.get())
            && let Some(limiter) = &mut target.limiter
        {
            limiter.refused(ticket.begun_us, now_us);
        }
    }

    /// Whether the attempt's target has a limit.
    #[must_use]
    pub fn is_limited(&self, ticket: &Ticket) -> bool {
        let target = self.targets.get(ticket.slot.get()).and_then(Option::as_ref);
        target.is_some_and(|target| target.limiter.is_some())
    }

    /// Takes a place in line; `None` when the line is full.
    pub fn enqueue(&mut self, one: QueueEntry<'_>, max: usize) -> Option<u64> {
        self.release_unused_permit();
        self.waiting.enter(one, max)
    }

    /// What this one in line was called for; else `waker` is woken when it is.
    pub fn poll_queued(&mut self, id: u64, waker: &Waker) -> Option<Wakeup> {
        self.waiting.poll(id, waker)
    }

    /// Leaves the queue and takes the permit that is reserved: it must be used or released, before
    /// anything else runs on this core.
    pub fn take_permit(&mut self, id: u64, model: ModelIndex, waited_us: u64) {
        self.release_unused_permit();
        if let Some(Wakeup::Permit(slot)) = self.waiting.leave(id) {
            self.waiting.waited(model, waited_us);
            self.release(slot);
            self.unused_permit = Some(slot);
        }
    }

    /// Leaves the line: a place that is kept goes to the next.
    pub fn leave_queue(&mut self, id: u64) {
        if let Some(Wakeup::Permit(slot)) = self.waiting.leave(id) {
            self.release(slot);
            self.reserve_permits(slot);
        }
    }

    /// How long those who were called of late had waited for the model in this place.
    #[must_use]
    pub fn usual_wait_us(&self, model: ModelIndex) -> u64 {
        self.waiting.usual_wait_us(model)
    }

    /// How many wait for the model in this place.
    #[must_use]
    pub fn queue_length(&self, model: ModelIndex) -> usize {
        self.waiting.len(model)
    }

    /// Passes on the place that was unused_permit, if it was not taken.
    pub(crate) fn release_unused_permit(&mut self) {
        if let Some(slot) = self.unused_permit.take() {
            self.reserve_permits(slot);
        }
    }

    /// Keeps the places that are free at a target for those in line.
    pub(crate) fn reserve_permits(&mut self, slot: TargetSlot) {
        while !self.waiting.is_empty()
            && let Some(Some(target)) = self.targets.get_mut(slot.get())
            && !target.is_full()
            && self.waiting.wake_next(slot)
        {
            target.reserved_permits += 1;
        }
    }

    fn release(&mut self, slot: TargetSlot) {
        if let Some(Some(target)) = self.targets.get_mut(slot.get()) {
            target.reserved_permits = target.reserved_permits.saturating_sub(1);
        }
    }
}
