//! Metrics of hedged requests.

use crate::base::names::Name;
use crate::observability::metrics::counters::CounterBy;
use crate::observability::metrics::group::metric_group;

metric_group! {
    /// Hedging
    pub(crate) struct HedgeMetrics {
        /// Second requests for those that were late, by model and outcome.
        ///
        /// Outcomes: `won`, `lost`, and `refused` when the budget was spent.
        hedges: CounterBy<(Name, &'static str)> = "ringside_hedges_total" ["gen_ai_request_model", "outcome"];
        /// Tokens that unused hedge attempts may have cost, an estimate, by model.
        tokens_estimated: CounterBy<Name> = "ringside_hedge_tokens_estimated_total" ["gen_ai_request_model"];
    }
}
