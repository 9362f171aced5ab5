//! Metrics of tokens and search units.

use crate::accounting::cost::TokenType;
use crate::base::names::Name;
use crate::observability::metrics::counters::CounterBy;
use crate::observability::metrics::group::metric_group;
use crate::observability::metrics::histogram::TokenCount;
use crate::observability::metrics::histograms::HistogramBy;

metric_group! {
    /// Usage
    pub(crate) struct UsageMetrics {
        /// Tokens per call, by key, model and type.
        tokens: HistogramBy<(Option<Name>, Name, TokenType), TokenCount> = "gen_ai_client_token_usage" ["ringside_key", "gen_ai_request_model", "gen_ai_token_type"];
        /// Input tokens read from the provider's prompt cache.
        cached_input_tokens: CounterBy<(Option<Name>, Name)> = "ringside_cached_input_tokens_total" ["ringside_key", "gen_ai_request_model"];
        /// Search units charged for reranking, by key and model.
        search_units: CounterBy<(Option<Name>, Name)> = "ringside_search_units_total" ["ringside_key", "gen_ai_request_model"];
        /// Responses whose usage the provider did not report: their tokens are unknown, not zero.
        missing: CounterBy<Name> = "ringside_usage_missing_total" ["gen_ai_request_model"];
    }
}
