//! Metrics of targets as the cores see them.

use crate::base::names::Name;
use crate::observability::metrics::counters::{Counter, CounterBy};
use crate::observability::metrics::gauges::{MeanGaugeBy, SumGaugeBy};
use crate::observability::metrics::group::metric_group;
use crate::observability::metrics::labels::LabelEnum;
use crate::routing::health::Phase;
use crate::routing::key_cooldowns::CooldownReason;

impl LabelEnum for Phase {
    const ALL: &'static [Self] = &Self::ALL;

    fn as_str(self) -> &'static str {
        self.as_str()
    }
}

/// Why a cooldown began.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum CooldownCause {
    RateLimited,
    Refused,
}

impl From<CooldownReason> for CooldownCause {
    fn from(reason: CooldownReason) -> Self {
        match reason {
            CooldownReason::RateLimited | CooldownReason::RateLimitedDefault => Self::RateLimited,
            CooldownReason::Refused => Self::Refused,
        }
    }
}

impl LabelEnum for CooldownCause {
    const ALL: &'static [Self] = &[Self::RateLimited, Self::Refused];

    fn as_str(self) -> &'static str {
        match self {
            Self::RateLimited => "rate_limited",
            Self::Refused => "refused",
        }
    }
}

metric_group! {
    /// Targets
    pub(crate) struct TargetMetrics {
        /// Share of recent responses that were good, 0 while open, mean over the cores.
        ///
        /// Only cores that used the target count.
        health: MeanGaugeBy<Name> = "ringside_target_health" ["target"];
        /// Cores that see a target in a phase.
        ///
        /// Phases: see [routing.md](routing.md).
        phase_cores: SumGaugeBy<(Name, Phase)> = "ringside_target_phase_cores" ["target", "phase"];
        /// Requests in flight at a target.
        in_flight: SumGaugeBy<Name> = "ringside_target_in_flight" ["target"];
        /// Times a target came into a phase.
        phase_changes: CounterBy<(Name, Phase)> = "ringside_target_changes_total" ["target", "phase"];
        /// Times a target or one of its keys began a cooldown.
        ///
        /// Reasons: `rate_limited`, `refused`.
        cooldowns: CounterBy<(Name, CooldownCause)> = "ringside_target_cooldowns_total" ["target", "reason"];
        /// Attempts not made because the retry budget was spent.
        ///
        /// Also those not made because a probe was in flight.
        retries_refused: Counter = "ringside_retries_refused_total" [];
    }
}
