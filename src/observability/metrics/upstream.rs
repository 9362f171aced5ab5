//! Metrics of upstream attempts and connections.

use crate::base::names::Name;
use crate::observability::metrics::counters::{Counter, CounterBy};
use crate::observability::metrics::gauges::SumGauge;
use crate::observability::metrics::group::metric_group;
use crate::observability::metrics::histogram::DurationSeconds;
use crate::observability::metrics::histograms::HistogramBy;

metric_group! {
    /// Upstream
    pub(crate) struct UpstreamMetrics {
        /// Upstream attempts, by target and outcome.
        attempts: CounterBy<(Name, &'static str)> = "ringside_upstream_attempts_total" ["target", "outcome"];
        /// From a streamed request sent to its first event, by target.
        time_to_first_token_seconds: HistogramBy<Name, DurationSeconds> = "gen_ai_server_time_to_first_token_seconds" ["target"];
        /// Upstream connections opened.
        connects: Counter = "ringside_upstream_connects_total" [];
        /// Requests sent on a reused upstream connection.
        reuses: Counter = "ringside_upstream_reuses_total" [];
        /// Upstream connections idle in the pools.
        idle_connections: SumGauge = "ringside_upstream_idle_connections" [];
    }
}
