//! Metrics of requests: how many, how long, and what the gateway added.

use crate::base::names::Name;
use crate::observability::metrics::counters::{Counter, CounterBy};
use crate::observability::metrics::group::metric_group;
use crate::observability::metrics::histogram::{DurationSeconds, OverheadSeconds};
use crate::observability::metrics::histograms::HistogramBy;
use crate::observability::metrics::labels::LabelEnum;
use crate::protocols::operation_kind::OperationKind;

/// Stages of a request whose added time is measured apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Stage {
    /// Reading the request, parsing its JSON, authentication, cache key.
    Read,
    /// Exact cache.
    Exact,
    /// Semantic cache, embedding included.
    Semantic,
    /// Choosing targets and encoding.
    Route,
    /// All of it: total time less the time spent waiting for upstream.
    Total,
}

impl LabelEnum for Stage {
    const ALL: &'static [Self] = &[
        Self::Read,
        Self::Exact,
        Self::Semantic,
        Self::Route,
        Self::Total,
    ];

    fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Exact => "exact",
            Self::Semantic => "semantic",
            Self::Route => "route",
            Self::Total => "total",
        }
    }
}

/// Who broke a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum BrokenSide {
    Client,
    Upstream,
    /// The process stopped.
    Drain,
}

impl LabelEnum for BrokenSide {
    const ALL: &'static [Self] = &[Self::Client, Self::Upstream, Self::Drain];

    fn as_str(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Upstream => "upstream",
            Self::Drain => "drain",
        }
    }
}

metric_group! {
    /// Requests
    pub(crate) struct RequestMetrics {
        /// Requests that got a response, by operation and status.
        answered: CounterBy<(OperationKind, u16)> = "ringside_requests_total" ["operation", "status"];
        /// Time added by the gateway, by stage.
        ///
        /// Stages: `read`, `exact`, `semantic`, `route`, `total`.
        overhead_seconds: HistogramBy<Stage, OverheadSeconds> = "ringside_overhead_seconds" ["stage"];
        /// From a request's arrival to the end of its response.
        duration_seconds: HistogramBy<(OperationKind, Name), DurationSeconds> = "gen_ai_client_operation_duration_seconds" ["gen_ai_operation_name", "gen_ai_request_model"];
        /// Stream events relayed.
        stream_events: Counter = "ringside_stream_events_total" [];
        /// Streams that did not end well, by who broke them.
        ///
        /// Sides: `client`, `upstream`, `drain`.
        streams_broken: CounterBy<BrokenSide> = "ringside_streams_broken_total" ["side"];
    }
}
