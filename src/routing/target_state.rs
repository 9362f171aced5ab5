//! What a core knows of one target, and where that puts it for a request. It must not know the other
//! targets (`fleet.rs`).

use crate::routing::health::{Health, Phase};
use crate::routing::indices::TargetIndex;
use crate::routing::key_cooldowns::{KeyCooldowns, KeyPermit};
use crate::routing::limiter::{Bounds, Limiter};
use crate::routing::measurements::{Latencies, STALE_AFTER_US, Series};
use crate::routing::policy::Candidate;
use crate::routing::route_inputs::RouteInputs;
use crate::routing::shared_health;
use crate::routing::shared_health::{PeerObservation, TOLD};
use crate::routing::target_ref::TargetRef;
use crate::routing::token_rate::Rates;

/// What is known of a target.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub(crate) health: Health,
    pub(crate) key_cooldowns: KeyCooldowns,
    pub(crate) latencies: Latencies,
    pub(crate) rates: Rates,
    pub(crate) outstanding: u32,
    pub(crate) chosen_us: u64,
    /// What the other cores expect of it, until this one has measured it.
    pub(crate) told_us: [Option<u32>; TOLD],
    /// How many requests may be under way; `None` = any number.
    pub(crate) limiter: Option<Box<Limiter>>,
    /// Places kept for those who were called from the line.
    pub(crate) kept: u32,
    /// The limit that the other cores found.
    told_limit: Option<u32>,
}

/// Where a candidate stands.
pub(crate) enum Availability {
    Ready,
    /// Kept back in its slow start; better than an open one.
    Held,
    Shut {
        until_us: u64,
    },
    Limited {
        until_us: u64,
    },
    /// As busy as it may be.
    Full,
}

impl Target {
    pub(crate) fn new(keys: usize) -> Self {
        Self {
            health: Health::default(),
            key_cooldowns: KeyCooldowns::new(keys),
            latencies: Latencies::default(),
            rates: Rates::default(),
            outstanding: 0,
            chosen_us: 0,
            told_us: [None; TOLD],
            limiter: None,
            kept: 0,
            told_limit: None,
        }
    }

    pub(crate) fn adopt(&mut self, known: &PeerObservation, now_us: u64) {
        self.told_us = known.expected_us;
        self.told_limit = known.limit;
        if let (Some(limiter), Some(limit)) = (&mut self.limiter, known.limit) {
            limiter.adopt(limit);
        }
        if let Some(open_for_us) = known.open_for_us {
            self.health.told_open(now_us, now_us + open_for_us);
        }
    }

    /// Requests that may be under way.
    pub(crate) fn limit(&self) -> Option<u32> {
        self.limiter.as_ref().map(|limiter| limiter.limit())
    }

    /// Whether as many requests are under way as may be.
    pub(crate) fn is_full(&self) -> bool {
        let limit = self.limit();
        limit.is_some_and(|limit| self.outstanding + self.kept >= limit)
    }

    /// Takes the bounds of its limit; a model that limits nothing leaves those of another model that has
    /// the same target.
    pub(crate) fn bound(&mut self, bounds: Option<Bounds>, cores: u32) {
        let Some(bounds) = bounds else {
            return;
        };
        let (bounds, told) = (bounds.per_core(cores), self.told_limit);
        match &mut self.limiter {
            Some(limiter) => limiter.bound(bounds),
            None => self.limiter = Some(Box::new(Limiter::new(bounds, told))),
        }
    }

    pub(crate) fn expected_us(&self, series: Series) -> Option<u32> {
        let told = || {
            self.told_us
                .get(shared_health::place(series)?)
                .copied()
                .flatten()
        };
        self.latencies.quantile_us(series).or_else(told)
    }

    pub(crate) fn candidate(
        &self,
        index: TargetIndex,
        target_ref: &TargetRef,
        inputs: &RouteInputs<'_>,
        now_us: u64,
    ) -> Candidate {
        Candidate {
            identity: target_ref.identity,
            priority: target_ref.priority,
            weight: target_ref.weight,
            score: self.health.score(),
            is_probe: self.health.may_probe(now_us),
            outstanding: self.outstanding,
            expected_us: self.expected_us(inputs.facts.series),
            cost_nanousd: inputs.costs_nanousd.get(index.get()).copied().flatten(),
            tokens_per_s: self.rates.tokens_per_s(inputs.facts.series),
            is_stale: now_us.saturating_sub(self.chosen_us) >= STALE_AFTER_US,
        }
    }

    pub(crate) fn availability(
        &self,
        target_ref: &TargetRef,
        random: u64,
        now_us: u64,
    ) -> Availability {
        let until_us = match self.key_cooldowns.pass(now_us) {
            KeyPermit::RateLimited { until_us } => return Availability::Limited { until_us },
            KeyPermit::LastResort { until_us } => until_us,
            KeyPermit::Free => 0,
        };
        let shut = Availability::Shut {
            until_us: until_us.max(self.health.opens_at_us()),
        };
        if until_us > 0 {
            return shut;
        }
        match self.health.phase(now_us) {
            Phase::Open => shut,
            Phase::HalfOpen if !self.health.may_probe(now_us) => shut,
            _ if target_ref.bounds.is_some() && self.is_full() => Availability::Full,
            Phase::Healthy | Phase::Degraded => Availability::Ready,
            Phase::SlowStart if self.health.admits(now_us, random) => Availability::Ready,
            Phase::SlowStart => Availability::Held,
            Phase::HalfOpen => Availability::Ready,
        }
    }
}
