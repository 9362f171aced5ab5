//! The state of all targets on one core: which targets may be tried for a request, what is in flight, and how attempts ended.
//! It must not know how an attempt is sent.
//!
//! The gateway and the simulation use it in the same way: [`TargetTable::route`], then for each target
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

/// The targets to try for one request.
#[derive(Debug, Clone, Default)]
pub struct Route {
    /// The first is tried first.
    pub order: TargetOrder,
    /// All targets that the request may be sent to are open or have no usable key. They are tried all the same, the one whose
    /// wait ends first before the others.
    pub is_last_resort: bool,
    /// If targets were left out because of a provider's rate limit: when the first of these limits ends, in microseconds.
    pub limited_until_us: Option<u64>,
    /// Targets that were left out because they are at their concurrency limit.
    pub full: TargetSet,
}

/// An attempt in flight. The caller must pass it to [`TargetTable::end`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ticket {
    pub(crate) slot: TargetSlot,
    pub(crate) begun_us: u64,
    holds_probe: bool,
    /// The API key to use.
    pub key_index: KeyIndex,
}

/// What an outcome changed at a target, for the log and the metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// The target came into this phase.
    Phase(Phase),
    /// A key began a cooldown.
    KeyCooldown {
        /// Why.
        reason: CooldownReason,
        /// When the cooldown ends, in microseconds.
        until_us: u64,
    },
}

/// A target in detail, for `explain`.
pub(crate) struct TargetReport {
    /// The target as a policy sees it.
    pub candidate: Candidate,
    pub phase: Phase,
    pub availability: Availability,
    /// Concurrency limit of this core; `None` = no limit.
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
    /// Number of requests that were routed, by model.
    turns: Vec<u64>,
    budget: Budget,
    /// The last shared health, and when it was merged, in microseconds.
    shared_health: Option<(Arc<SharedHealth>, u64)>,
    /// Number of cores that share the limits of targets.
    pub(crate) cores: u32,
    pub(crate) waiting: WaitQueue,
    /// The target of a permit that the request which is served now took from the queue and has not used.
    pub(crate) unused_permit: Option<TargetSlot>,
}

/// Latencies of attempts that a client gave up earlier than this, in microseconds, are not recorded: a wait this short does not
/// show that the target is slow.
const GIVEN_UP_MIN_US: u64 = 1_000_000;

impl TargetTable {
    /// Counts a new request, which earns its share of a repeat.
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
            target.set_bounds(target_ref.bounds, cores);
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
            // First the target whose wait ends first.
            unavailable.sort_unstable();
            route
                .order
                .extend(unavailable.iter().map(|(_, index)| *index));
            route.is_last_resort = !unavailable.is_empty();
        }
        route
    }

    /// The target at `index` in detail, as [`TargetTable::route`] sees it.
    pub(crate) fn inspect(
        &mut self,
        index: TargetIndex,
        target_ref: &TargetRef,
        inputs: &RouteInputs<'_>,
        now_us: u64,
    ) -> TargetReport {
        let cores = self.cores;
        let target = self.target(target_ref);
        target.set_bounds(target_ref.bounds, cores);
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

    /// Whether an attempt may be sent to this target. The first attempt of a request costs nothing, and so does an attempt at a
    /// healthy target; every other attempt is paid for from the retry budget.
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

    /// Whether a hedge attempt may be sent to this target: it must be healthy and have a usable key and a free permit.
    pub fn may_hedge(&mut self, target_ref: &TargetRef, now_us: u64) -> bool {
        let target = self.target(target_ref);
        let is_full = target_ref.bounds.is_some() && target.is_full();
        let is_free = target.key_cooldowns.permit(now_us) == KeyPermit::Free && !is_full;
        is_free && target.health.phase(now_us) == Phase::Healthy
    }

    /// Whether the request may be sent to this target again. That is always paid for from the retry budget.
    pub fn may_repeat(&mut self, target_ref: &TargetRef, now_us: u64) -> bool {
        let health = &self.target(target_ref).health;
        let is_full = health.phase(now_us) == Phase::HalfOpen && !health.may_probe(now_us);
        !is_full && self.budget.spend()
    }

    /// Whether the target has a key that is not in cooldown.
    pub fn has_free_key(&mut self, target_ref: &TargetRef, now_us: u64) -> bool {
        self.target(target_ref).key_cooldowns.permit(now_us) == KeyPermit::Free
    }

    /// If the target's provider requires that nothing is sent: until when, in microseconds.
    pub fn limited_until_us(&mut self, target_ref: &TargetRef, now_us: u64) -> Option<u64> {
        match self.target(target_ref).key_cooldowns.permit(now_us) {
            KeyPermit::RateLimited { until_us } => Some(until_us),
            _ => None,
        }
    }

    /// Begins an attempt with the next key.
    pub fn begin(&mut self, target_ref: &TargetRef, now_us: u64) -> Ticket {
        self.begin_by(target_ref, None, now_us)
    }

    /// Begins an attempt with the given key, or with the next key.
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

    /// Records that the first bytes of a stream arrived. The attempt stays in flight until the stream ends.
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
            limiter.record_overload(ticket.begun_us, now_us);
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
        let began = cooldown.map(|cooldown| Change::KeyCooldown {
            reason: cooldown.reason,
            until_us: cooldown.until_us,
        });
        let changed = began.or(changed.map(Change::Phase));
        self.reserve_permits(ticket.slot);
        changed
    }

    /// Records that the attempt's target generated `tokens` tokens in `time_us`.
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

    /// Records a lower bound of a latency, if it is above the target's quantile: clients that disconnect before a slow target
    /// responds must not hide that it is slow.
    pub fn measure_at_least(
        &mut self,
        ticket: &Ticket,
        series: Series,
        latency_us: u64,
        now_us: u64,
    ) {
        if let Some(Some(target)) = self.targets.get_mut(ticket.slot.get()) {
            let quantile_us = target.latencies.quantile_us(series).map_or(0, u64::from);
            if latency_us > quantile_us.max(GIVEN_UP_MIN_US) {
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

    /// The concurrency limit of the target in `slot`; `None` = no limit.
    #[must_use]
    pub fn limit(&self, slot: TargetSlot) -> Option<u32> {
        self.targets.get(slot.get())?.as_ref()?.limit()
    }

    /// Forgets failures and cooldowns of the target in `slot`, so that requests are sent to it again.
    pub(crate) fn reset(&mut self, slot: TargetSlot) {
        if let Some(Some(target)) = self.targets.get_mut(slot.get()) {
            target.health.reset();
            target.key_cooldowns.reset();
        }
        // Where this core has no state of its own yet, that of the others must not come back.
        self.shared_health = self.shared_health.take().map(|(health, merged_us)| {
            let health = Arc::new(health.without(slot));
            (health, merged_us)
        });
    }

    /// What this core observed in its own recent attempts, for the other cores.
    #[must_use]
    pub fn observations(&self, now_us: u64) -> Vec<PeerObservation> {
        let targets = self.targets.iter().enumerate();
        let observations = targets.filter_map(|(slot, target)| {
            let target = target.as_ref()?;
            let mut expected_us = [None; SHARED_SERIES];
            for (position, expected) in expected_us.iter_mut().enumerate() {
                *expected = target
                    .latencies
                    .recent_us(shared_health::series_at(position), now_us);
            }
            let open_for_us = target.health.open_for_us(now_us);
            let limit = target.limiter.as_ref().and_then(|limiter| limiter.found());
            let is_measured = expected_us.iter().any(Option::is_some);
            let is_observed = is_measured || open_for_us.is_some() || limit.is_some();
            is_observed.then_some(PeerObservation {
                slot: TargetSlot::new(slot),
                open_for_us,
                expected_us,
                limit,
            })
        });
        observations.collect()
    }

    /// Merges the observations of the other cores into the targets that this core has no recent outcomes of.
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

    /// The number of the shared health that was merged last.
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
