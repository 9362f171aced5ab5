//! The state of one target on one core, and whether a request may be sent to it. It must not know the other targets
//! (`targets.rs`).

use crate::routing::health::{Health, Phase};
use crate::routing::indices::TargetIndex;
use crate::routing::key_cooldowns::{KeyCooldowns, KeyPermit};
use crate::routing::limiter::{Bounds, Limiter};
use crate::routing::measurements::{Latencies, STALE_AFTER_US, Series};
use crate::routing::policy::Candidate;
use crate::routing::route_inputs::RouteInputs;
use crate::routing::shared_health;
use crate::routing::shared_health::{PeerObservation, SHARED_SERIES};
use crate::routing::target_ref::TargetRef;
use crate::routing::token_rate::Rates;

/// The state of one target.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub(crate) health: Health,
    pub(crate) key_cooldowns: KeyCooldowns,
    pub(crate) latencies: Latencies,
    pub(crate) rates: Rates,
    pub(crate) in_flight: u32,
    /// When an attempt was last begun, in microseconds.
    pub(crate) chosen_us: u64,
    /// Latency quantiles of the other cores, in microseconds: used until this core has measured the target.
    pub(crate) shared_us: [Option<u32>; SHARED_SERIES],
    /// `None` = no concurrency limit.
    pub(crate) limiter: Option<Box<Limiter>>,
    /// Permits that are reserved for waiters that were woken.
    pub(crate) reserved_permits: u32,
    /// The concurrency limit that the other cores found.
    shared_limit: Option<u32>,
}

/// Whether a request may go to a target now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Availability {
    Ready,
    /// In a slow start, and this request does not belong to its share; still better than an open target.
    Ramping,
    /// It is open, or all its keys are in cooldown.
    Unavailable {
        /// When it may be tried again, in microseconds.
        until_us: u64,
    },
    /// Its provider requires that no requests are sent.
    RateLimited {
        /// When requests may be sent again, in microseconds.
        until_us: u64,
    },
    /// At its concurrency limit.
    Full,
}

impl Availability {
    /// Its name in the output of `explain`.
    #[must_use]
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Ramping => "ramping",
            Self::Unavailable { .. } => "unavailable",
            Self::RateLimited { .. } => "rate_limited",
            Self::Full => "full",
        }
    }
}

impl Target {
    pub(crate) fn new(keys: usize) -> Self {
        Self {
            health: Health::default(),
            key_cooldowns: KeyCooldowns::new(keys),
            latencies: Latencies::default(),
            rates: Rates::default(),
            in_flight: 0,
            chosen_us: 0,
            shared_us: [None; SHARED_SERIES],
            limiter: None,
            reserved_permits: 0,
            shared_limit: None,
        }
    }

    pub(crate) fn merge(&mut self, observation: &PeerObservation, now_us: u64) {
        self.shared_us = observation.expected_us;
        self.shared_limit = observation.limit;
        if let (Some(limiter), Some(limit)) = (&mut self.limiter, observation.limit) {
            limiter.adopt(limit);
        }
        if let Some(open_for_us) = observation.open_for_us {
            self.health.merge_open(now_us, now_us + open_for_us);
        }
    }

    /// The concurrency limit; `None` = no limit.
    pub(crate) fn limit(&self) -> Option<u32> {
        self.limiter.as_ref().map(|limiter| limiter.limit())
    }

    /// Whether no permit is free.
    pub(crate) fn is_full(&self) -> bool {
        let limit = self.limit();
        limit.is_some_and(|limit| self.in_flight + self.reserved_permits >= limit)
    }

    /// Sets the bounds of its limit. A model without a limit does not change the bounds that another model with the same target
    /// has set.
    pub(crate) fn set_bounds(&mut self, bounds: Option<Bounds>, cores: u32) {
        let Some(bounds) = bounds else {
            return;
        };
        let (bounds, shared) = (bounds.per_core(cores), self.shared_limit);
        match &mut self.limiter {
            Some(limiter) => limiter.set_bounds(bounds),
            None => self.limiter = Some(Box::new(Limiter::new(bounds, shared))),
        }
    }

    pub(crate) fn expected_us(&self, series: Series) -> Option<u32> {
        let shared = || {
            self.shared_us
                .get(shared_health::position(series)?)
                .copied()
                .flatten()
        };
        self.latencies.quantile_us(series).or_else(shared)
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
            in_flight: self.in_flight,
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
        let until_us = match self.key_cooldowns.permit(now_us) {
            KeyPermit::RateLimited { until_us } => return Availability::RateLimited { until_us },
            KeyPermit::LastResort { until_us } => until_us,
            KeyPermit::Free => 0,
        };
        let unavailable = Availability::Unavailable {
            until_us: until_us.max(self.health.opens_at_us()),
        };
        if until_us > 0 {
            return unavailable;
        }
        match self.health.phase(now_us) {
            Phase::Open => unavailable,
            Phase::HalfOpen if !self.health.may_probe(now_us) => unavailable,
            _ if target_ref.bounds.is_some() && self.is_full() => Availability::Full,
            Phase::Healthy | Phase::Degraded => Availability::Ready,
            Phase::SlowStart if self.health.admits(now_us, random) => Availability::Ready,
            Phase::SlowStart => Availability::Ramping,
            Phase::HalfOpen => Availability::Ready,
        }
    }
}
