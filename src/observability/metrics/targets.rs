//! Metrics of targets as the cores see them.

use crate::base::names::Name;
use crate::observability::metrics::counters::{Counter, CounterBy};
use crate::observability::metrics::gauges::{MeanGaugeBy, SumGaugeBy};
use crate::observability::metrics::group::metric_group;

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
        phase_cores: SumGaugeBy<(Name, &'static str)> = "ringside_target_phase_cores" ["target", "phase"];
        /// Requests in flight at a target.
        in_flight: SumGaugeBy<Name> = "ringside_target_in_flight" ["target"];
        /// Times a target came into a phase.
        phase_changes: CounterBy<(Name, &'static str)> = "ringside_target_changes_total" ["target", "phase"];
        /// Times a target or one of its keys began a cooldown.
        ///
        /// Reasons: `rate_limited`, `refused`.
        cooldowns: CounterBy<(Name, &'static str)> = "ringside_target_cooldowns_total" ["target", "reason"];
        /// Attempts not made because the retry budget was spent.
        ///
        /// Also those not made because a probe was in flight.
        retries_refused: Counter = "ringside_retries_refused_total" [];
    }
}
