//! What a core knows of one target, and where that puts it for a request. It must not know the other
//! targets (`fleet.rs`).

use super::Candidate;
use super::asked::Asked;
use super::fleet::Member;
use super::health::{Health, Phase};
use super::lanes::{Lanes, Pass};
use super::measure::{Latencies, STALE_AFTER_US, Series};
use super::rate::Rates;
use super::view::{self, Known, TOLD};

/// What is known of a target.
#[derive(Debug, Clone)]
pub(super) struct Target {
    pub(super) health: Health,
    pub(super) lanes: Lanes,
    pub(super) latencies: Latencies,
    pub(super) rates: Rates,
    pub(super) outstanding: u32,
    pub(super) chosen_us: u64,
    /// What the other cores expect of it, until this one has measured it.
    pub(super) told_us: [Option<u32>; TOLD],
}

/// Where a candidate stands.
pub(super) enum Standing {
    Ready,
    /// Kept back in its slow start; better than an open one.
    Held,
    Shut {
        until_us: u64,
    },
    Limited {
        until_us: u64,
    },
}

impl Target {
    pub(super) fn new(keys: usize) -> Self {
        Self {
            health: Health::default(),
            lanes: Lanes::new(keys),
            latencies: Latencies::default(),
            rates: Rates::default(),
            outstanding: 0,
            chosen_us: 0,
            told_us: [None; TOLD],
        }
    }

    pub(super) fn adopt(&mut self, known: &Known, now_us: u64) {
        self.told_us = known.expected_us;
        if let Some(open_for_us) = known.open_for_us {
            self.health.told_open(now_us, now_us + open_for_us);
        }
    }

    pub(super) fn expected_us(&self, series: Series) -> Option<u32> {
        let told = || self.told_us.get(view::place(series)?).copied().flatten();
        self.latencies.quantile_us(series).or_else(told)
    }

    pub(super) fn candidate(
        &self,
        at: usize,
        member: &Member,
        asked: &Asked<'_>,
        now_us: u64,
    ) -> Candidate {
        Candidate {
            identity: member.identity,
            priority: member.priority,
            weight: member.weight,
            score: self.health.score(),
            is_probe: self.health.may_probe(now_us),
            outstanding: self.outstanding,
            expected_us: self.expected_us(asked.series),
            cost_nanousd: asked.costs_nanousd.get(at).copied().flatten(),
            tokens_per_s: self.rates.tokens_per_s(asked.series),
            is_stale: now_us.saturating_sub(self.chosen_us) >= STALE_AFTER_US,
        }
    }

    pub(super) fn standing(&self, random: u64, now_us: u64) -> Standing {
        let until_us = match self.lanes.pass(now_us) {
            Pass::RateLimited { until_us } => return Standing::Limited { until_us },
            Pass::LastResort { until_us } => until_us,
            Pass::Free => 0,
        };
        let shut = Standing::Shut {
            until_us: until_us.max(self.health.opens_at_us()),
        };
        if until_us > 0 {
            return shut;
        }
        match self.health.phase(now_us) {
            Phase::Healthy | Phase::Degraded => Standing::Ready,
            Phase::SlowStart if self.health.admits(now_us, random) => Standing::Ready,
            Phase::SlowStart => Standing::Held,
            Phase::HalfOpen if self.health.may_probe(now_us) => Standing::Ready,
            Phase::HalfOpen | Phase::Open => shut,
        }
    }
}
