//! A core's state of all targets: which of them may be tried for a request, what is in flight, how attempts ended.
//!
//! The pipeline and the simulation use it alike: [`TargetTable::route`], then for each target
//! [`TargetTable::may_try`], [`TargetTable::begin`], [`TargetTable::end`].

use crate::base::random::mix;
use crate::routing::budget::Budget;
use crate::routing::health::{Outcome, Phase};
use crate::routing::indices::{KeyIndex, ModelIndex, TargetIndex, TargetSlot};
use crate::routing::key_cooldowns::{CooldownReason, KeyPermit};
use crate::routing::measurements::Series;
use crate::routing::policy::{Candidate, RoutingPolicy};
use crate::routing::route_inputs::RouteInputs;
use crate::routing::shared_health;
use crate::routing::shared_health::{PeerObservation, SHARED_SERIES, SharedHealth};
use crate::routing::target_ref::TargetRef;
use crate::routing::target_set::{TARGETS_MAX, TargetOrder, TargetSet};
use crate::routing::target_state::{Availability, Target};
use crate::routing::tier::Tier;
use crate::routing::wait_queue::WaitQueue;
use arrayvec::ArrayVec;
use std::sync::Arc;

/// The targets to try.
#[derive(Debug, Clone, Default)]
pub struct Route {
    /// The first to be tried first.
    pub order: TargetOrder,
    /// Every target that may be tried is open or has no good key: the best first, for the case that it
    /// works after all.
    pub is_last_resort: bool,
    /// If a target was left out because its provider asked for it: when the first of these is free
    /// again, in microseconds.
    pub limited_until_us: Option<u64>,
    /// Targets left out because they are at their concurrency limit.
    pub full: TargetSet,
}

/// An attempt in flight. It is given back by [`TargetTable::end`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ticket {
    pub(crate) slot: TargetSlot,
    pub(crate) begun_us: u64,
    holds_probe: bool,
    /// The key to use.
    pub key_index: KeyIndex,
}

/// What an outcome changed, for the log and the metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// The target is in another phase.
    Phase(Phase),
    /// A key rests, or the target if it has only one.
    KeyCooldown {
        /// Why it rests.
        reason: CooldownReason,
        /// When the cooldown ends, in microseconds.
        until_us: u64,
    },
}

/// A target, looked at closely.
pub(crate) struct TargetReport {
    /// What a policy is shown of it.
    pub candidate: Candidate,
    /// Its phase.
    pub phase: Phase,
    /// Whether a request may go to it now.
    pub availability: Availability,
    /// Requests that may be under way from this core; `None` = any number.
    pub limit: Option<u32>,
}

/// A target as this core sees it, in short.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct TargetSummary {
    pub phase: Phase,
    /// Share of good responses of late, 0 to 1.
    pub score: f32,
    /// Requests in flight from this core.
    pub in_flight: u32,
}

/// All targets of a core.
#[derive(Debug, Clone, Default)]
pub struct TargetTable {
    pub(crate) targets: Vec<Option<Box<Target>>>,
    turns: Vec<u64>,
    budget: Budget,
    /// What the other cores know, and when this one was told, in microseconds.
    shared_health: Option<(Arc<SharedHealth>, u64)>,
    /// Cores that share the limits of targets.
    pub(crate) cores: u32,
    pub(crate) waiting: WaitQueue,
    /// The slot of a place that was kept for the request which is served now.
    pub(crate) unused_permit: Option<TargetSlot>,
}

/// A wait that was given up earlier, in microseconds, tells nothing: the client changed its mind.
const GIVEN_UP_MIN_US: u64 = 1_000_000;

impl TargetTable {
    /// Counts a new request, which earns its share of the retry budget.
    pub fn count_request(&mut self) {
        self.budget.earn();
    }

    /// Orders the targets of a model for a request.
    pub fn route(
        &mut self,
        model: ModelIndex,
        target_refs: &[TargetRef],
        policy: &dyn RoutingPolicy,
        inputs: &RouteInputs<'_>,
        now_us: u64,
    ) -> Route {
        let (facts, turn) = (&inputs.facts, self.next_turn(model));
        let (mut ready, mut ramping) = (Tier::default(), Tier::default());
        let mut unavailable: ArrayVec<(u64, TargetIndex), TARGETS_MAX> = ArrayVec::new();
        let mut route = Route::default();
        for (index, target_ref) in target_refs.iter().enumerate().take(TARGETS_MAX) {
            let index = TargetIndex::new(index);
            if inputs.excluded.contains(index) {
                continue;
            }
            let cores = self.cores;
            let target = self.target(target_ref);
            target.bound(target_ref.bounds, cores);
            let candidate = target.candidate(index, target_ref, inputs, now_us);
            match target.availability(target_ref, mix(facts.random, target_ref.identity), now_us) {
                Availability::Ready => ready.push(index, candidate),
                Availability::Ramping => ramping.push(index, candidate),
                Availability::Unavailable { until_us } => unavailable.push((until_us, index)),
                Availability::RateLimited { until_us } => {
                    let first = route.limited_until_us.unwrap_or(until_us);
                    route.limited_until_us = Some(first.min(until_us));
                }
                Availability::Full => route.full.insert(index),
            }
        }
        for tier in [&mut ready, &mut ramping] {
            tier.append_to(policy, facts, turn, &mut route.order);
        }
        if route.order.is_empty() && route.full.is_empty() {
            // The best is what is due first.
            unavailable.sort_unstable();
            route
                .order
                .extend(unavailable.iter().map(|(_, index)| *index));
            route.is_last_resort = !unavailable.is_empty();
        }
        route
    }

    /// The target at `index` as [`TargetTable::route`] sees it.
    pub(crate) fn inspect(
        &mut self,
        index: TargetIndex,
        target_ref: &TargetRef,
        inputs: &RouteInputs<'_>,
        now_us: u64,
    ) -> TargetReport {
        let cores = self.cores;
        let target = self.target(target_ref);
        target.bound(target_ref.bounds, cores);
        let availability = target.availability(
            target_ref,
            mix(inputs.facts.random, target_ref.identity),
            now_us,
        );
        TargetReport {
            candidate: target.candidate(index, target_ref, inputs, now_us),
            phase: target.health.phase(now_us),
            availability,
            limit: target.limit(),
        }
    }

    /// Whether an attempt may be made at this target. The first is free, and so is one at a healthy
    /// target; every other repeat is paid for from the budget.
    pub fn may_try(&mut self, target_ref: &TargetRef, is_first: bool, now_us: u64) -> bool {
        let health = &self.target(target_ref).health;
        let phase = health.phase(now_us);
        if is_first || phase == Phase::Healthy {
            return true;
        }
        if phase == Phase::HalfOpen && !health.may_probe(now_us) {
            return false;
        }
        self.budget.spend()
    }

    /// Whether a second request for one that is late may be sent there.
    pub fn may_hedge(&mut self, target_ref: &TargetRef, now_us: u64) -> bool {
        let target = self.target(target_ref);
        let is_full = target_ref.bounds.is_some() && target.is_full();
        let is_free = target.key_cooldowns.permit(now_us) == KeyPermit::Free && !is_full;
        is_free && target.health.phase(now_us) == Phase::Healthy
    }

    /// Whether an attempt may be made at a target that this request was sent to before: always paid for.
    pub fn may_repeat(&mut self, target_ref: &TargetRef, now_us: u64) -> bool {
        let health = &self.target(target_ref).health;
        let is_full = health.phase(now_us) == Phase::HalfOpen && !health.may_probe(now_us);
        !is_full && self.budget.spend()
    }

    /// Whether the target has a key that may be used, so that another of its keys can be tried.
    pub fn has_free_key(&mut self, target_ref: &TargetRef, now_us: u64) -> bool {
        self.target(target_ref).key_cooldowns.permit(now_us) == KeyPermit::Free
    }

    /// If the target's provider asked for nothing to be sent: until when, in microseconds.
    pub fn limited_until_us(&mut self, target_ref: &TargetRef, now_us: u64) -> Option<u64> {
        match self.target(target_ref).key_cooldowns.permit(now_us) {
            KeyPermit::RateLimited { until_us } => Some(until_us),
            _ => None,
        }
    }

    /// Begins an attempt.
    pub fn begin(&mut self, target_ref: &TargetRef, now_us: u64) -> Ticket {
        self.begin_by(target_ref, None, now_us)
    }

    /// The same with the key of this lane, if one is given.
    pub fn begin_by(
        &mut self,
        target_ref: &TargetRef,
        key_index: Option<KeyIndex>,
        now_us: u64,
    ) -> Ticket {
        let target = self.target(target_ref);
        target.in_flight += 1;
        target.chosen_us = now_us;
        let ticket = Ticket {
            slot: target_ref.slot,
            begun_us: now_us,
            holds_probe: target.health.begin(now_us),
            key_index: key_index.unwrap_or_else(|| target.key_cooldowns.pick(now_us)),
        };
        self.release_unused_permit();
        ticket
    }

    /// The first bytes of a stream came. The ticket stays until its end.
    pub fn began(&mut self, ticket: &mut Ticket, now_us: u64, random: u64) -> Option<Change> {
        let target = self.targets.get_mut(ticket.slot.get())?.as_mut()?;
        if std::mem::take(&mut ticket.holds_probe) {
            target.health.release();
        }
        target.key_cooldowns.clear(ticket.key_index);
        let changed = target
            .health
            .record(Outcome::Began, ticket.begun_us, now_us, random);
        changed.map(Change::Phase)
    }

    /// Ends an attempt.
    pub fn end(
        &mut self,
        ticket: Ticket,
        outcome: Outcome,
        now_us: u64,
        random: u64,
    ) -> Option<Change> {
        let target = self.targets.get_mut(ticket.slot.get())?.as_mut()?;
        target.in_flight = target.in_flight.saturating_sub(1);
        if let (Outcome::TimedOut, Some(limiter)) = (outcome, &mut target.limiter) {
            limiter.refused(ticket.begun_us, now_us);
        }
        if ticket.holds_probe {
            target.health.release();
        }
        let changed = target
            .health
            .record(outcome, ticket.begun_us, now_us, random);
        let cooldown = match outcome {
            Outcome::Good => {
                target.key_cooldowns.clear(ticket.key_index);
                None
            }
            Outcome::RateLimited(wait_us) => Some(target.key_cooldowns.rate_limited(
                ticket.key_index,
                wait_us,
                now_us,
            )),
            Outcome::KeyRefused => Some(target.key_cooldowns.refused(ticket.key_index, now_us)),
            _ => None,
        };
        let changed = cooldown
            .map(|(reason, until_us)| Change::KeyCooldown { reason, until_us })
            .or(changed.map(Change::Phase));
        self.reserve_permits(ticket.slot);
        changed
    }

    /// Records that the attempt's target made so many tokens in so many microseconds.
    pub fn generated(&mut self, ticket: &Ticket, series: Series, tokens: u64, time_us: u64) {
        if let Some(Some(target)) = self.targets.get_mut(ticket.slot.get()) {
            target.rates.record(series, tokens, time_us);
        }
    }

    /// Records a latency of the attempt's target.
    pub fn measure(&mut self, ticket: &Ticket, series: Series, latency_us: u64, now_us: u64) {
        if let Some(Some(target)) = self.targets.get_mut(ticket.slot.get()) {
            target.latencies.record(series, latency_us, now_us);
        }
    }

    /// Records that a latency would have been longer, if that is longer than usual: clients that give
    /// up before a slow target answers must not hide that it is slow.
    pub fn measure_at_least(
        &mut self,
        ticket: &Ticket,
        series: Series,
        latency_us: u64,
        now_us: u64,
    ) {
        if let Some(Some(target)) = self.targets.get_mut(ticket.slot.get()) {
            let usual = target.latencies.quantile_us(series).map_or(0, u64::from);
            if latency_us > usual.max(GIVEN_UP_MIN_US) {
                target.latencies.record(series, latency_us, now_us);
            }
        }
    }

    /// The target in `slot` as the metrics show it; `None` if it was never used.
    #[must_use]
    pub(crate) fn summary(&self, slot: TargetSlot, now_us: u64) -> Option<TargetSummary> {
        let target = self.targets.get(slot.get())?.as_ref()?;
        Some(TargetSummary {
            phase: target.health.phase(now_us),
            score: target.health.score(),
            in_flight: target.in_flight,
        })
    }

    /// Requests that may be under way at the target in this place; `None` = any number.
    #[must_use]
    pub fn limit(&self, slot: TargetSlot) -> Option<u32> {
        self.targets.get(slot.get())?.as_ref()?.limit()
    }

    /// What this core knows by its own attempts of late, for the others.
    #[must_use]
    pub fn observations(&self, now_us: u64) -> Vec<PeerObservation> {
        let targets = self.targets.iter().enumerate();
        let observations = targets.filter_map(|(slot, target)| {
            let target = target.as_ref()?;
            let mut expected_us = [None; SHARED_SERIES];
            for (at, expected) in expected_us.iter_mut().enumerate() {
                *expected = target
                    .latencies
                    .recent_us(shared_health::series(at), now_us);
            }
            let open_for_us = target.health.open_for_us(now_us);
            let limit = target.limiter.as_ref().and_then(|one| one.found());
            let is_measured = expected_us.iter().any(Option::is_some);
            let is_known = is_measured || open_for_us.is_some() || limit.is_some();
            is_known.then_some(PeerObservation {
                slot: TargetSlot::new(slot),
                open_for_us,
                expected_us,
                limit,
            })
        });
        observations.collect()
    }

    /// Takes in what the other cores know, for targets that this one does not know better.
    pub fn merge_shared_health(&mut self, health: &Arc<SharedHealth>, now_us: u64) {
        for (slot, target) in self.targets.iter_mut().enumerate() {
            if let (Some(target), Some(observation)) = (target, health.get(TargetSlot::new(slot))) {
                target.merge(observation, now_us);
            }
        }
        self.shared_health = Some((Arc::clone(health), now_us));
        for slot in 0..self.targets.len() {
            self.reserve_permits(TargetSlot::new(slot));
        }
    }

    /// The number of the view that was taken in last.
    #[must_use]
    pub fn shared_health_number(&self) -> u64 {
        self.shared_health
            .as_ref()
            .map_or(0, |(health, _)| health.number)
    }

    pub(crate) fn target(&mut self, target_ref: &TargetRef) -> &mut Target {
        let slot = target_ref.slot.get();
        if self.targets.len() <= slot {
            self.targets.resize_with(slot + 1, || None);
        }
        let shared = &self.shared_health;
        self.targets[slot].get_or_insert_with(|| {
            let mut target = Box::new(Target::new(target_ref.keys));
            if let Some((health, merged_us)) = shared
                && let Some(observation) = health.get(target_ref.slot)
            {
                target.merge(observation, *merged_us);
            }
            target
        })
    }

    fn next_turn(&mut self, model: ModelIndex) -> u64 {
        let model = model.get();
        if self.turns.len() <= model {
            self.turns.resize(model + 1, 0);
        }
        let turn = self.turns[model];
        self.turns[model] = turn.wrapping_add(1);
        turn
    }
}
