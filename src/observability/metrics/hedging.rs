//! Metrics of hedged requests.

use crate::base::names::Name;
use crate::observability::metrics::counters::CounterBy;
use crate::observability::metrics::group::metric_group;
use crate::observability::metrics::labels::LabelEnum;

/// What became of the second attempt for a request that was late.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum HedgeOutcome {
    /// The second attempt's response was used.
    Won,
    /// The first attempt's response was used.
    Lost,
    /// It was not sent, because the budget was spent.
    Refused,
}

impl LabelEnum for HedgeOutcome {
    const ALL: &'static [Self] = &[Self::Won, Self::Lost, Self::Refused];

    fn as_str(self) -> &'static str {
        match self {
            Self::Won => "won",
            Self::Lost => "lost",
            Self::Refused => "refused",
        }
    }
}

metric_group! {
    /// Hedging
    pub(crate) struct HedgeMetrics {
        /// Second requests for those that were late, by model and outcome.
        ///
        /// Outcomes: `won`, `lost`, and `refused` when the budget was spent.
        hedges: CounterBy<(Name, HedgeOutcome)> = "ringside_hedges_total" ["gen_ai_request_model", "outcome"];
        /// Tokens that unused hedge attempts may have cost, an estimate, by model.
        tokens_estimated: CounterBy<Name> = "ringside_hedge_tokens_estimated_total" ["gen_ai_request_model"];
    }
}
