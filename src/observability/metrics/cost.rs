//! Metrics of cost, in nano-dollars.

use crate::accounting::billing::MissingCostInput;
use crate::accounting::cost::TokenType;
use crate::base::names::Name;
use crate::observability::metrics::counters::CounterBy;
use crate::observability::metrics::group::metric_group;
use crate::observability::metrics::labels::LabelEnum;

impl LabelEnum for TokenType {
    const ALL: &'static [Self] = &[
        Self::Input,
        Self::CachedInput,
        Self::CacheWrite,
        Self::Output,
    ];

    fn as_str(self) -> &'static str {
        self.as_str()
    }
}

impl LabelEnum for MissingCostInput {
    const ALL: &'static [Self] = &[Self::Price, Self::Usage];

    fn as_str(self) -> &'static str {
        self.as_str()
    }
}

metric_group! {
    /// Cost
    pub(crate) struct CostMetrics {
        /// Cost in nano-dollars (10^-9 US dollars), estimates included.
        ///
        /// Types: `input`, `cached_input`, `cache_write`, `output`; see [prices.md](prices.md).
        charged: CounterBy<(Option<Name>, Name, TokenType)> = "ringside_cost_nanousd_total" ["ringside_key", "gen_ai_request_model", "gen_ai_token_type"];
        /// The part of the cost that is estimated, in nano-dollars.
        estimated: CounterBy<Name> = "ringside_cost_estimated_nanousd_total" ["gen_ai_request_model"];
        /// What cached responses had cost when they were fetched, in nano-dollars.
        saved: CounterBy<Name> = "ringside_cost_saved_nanousd_total" ["gen_ai_request_model"];
        /// Responses of unknown cost, by what is missing.
        ///
        /// Missing: `price` or `usage`.
        unknown: CounterBy<(Name, MissingCostInput)> = "ringside_cost_unknown_total" ["gen_ai_request_model", "missing"];
    }
}

impl CostMetrics {
    /// Counts the parts of a cost.
    pub(crate) fn charge(
        &mut self,
        key: Option<Name>,
        model: Name,
        parts: [(TokenType, u64); 4],
        is_estimate: bool,
    ) {
        for (part, nanousd) in parts {
            if nanousd > 0 {
                self.charged.add((key, model, part), nanousd);
                if is_estimate {
                    self.estimated.add(model, nanousd);
                }
            }
        }
    }
}
