//! Metrics that compare mirrored requests with the responses that were served.

use crate::base::names::Name;
use crate::observability::metrics::counters::Counter;
use crate::observability::metrics::group::metric_group;
use crate::observability::metrics::histogram::DurationSeconds;
use crate::observability::metrics::histograms::HistogramOf;
use crate::observability::metrics::labels::{LabelEnum, LabelKey};
use std::time::Duration;

/// A request that both the model's own target and the mirror responded to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MirroredRequest {
    /// From the client's request to the end of its response.
    pub served: Duration,
    /// Latency of the mirror's response.
    pub mirror: Duration,
    /// Cost of the mirror's response, in nano-dollars; `None` when it is not known.
    pub cost_nanousd: Option<u64>,
}

/// A mirror: the model, and the target that gets copies of its requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct MirrorId {
    /// The requested model.
    pub model: Name,
    /// The mirror's target.
    pub target: Name,
}

impl LabelKey for MirrorId {
    const COUNT: usize = 2;

    fn push_values(&self, values: &mut Vec<String>) {
        self.model.push_values(values);
        self.target.push_values(values);
    }

    #[cfg(test)]
    fn example(number: u64) -> Self {
        Self {
            model: Name::example(number),
            target: Name::example(number / 3),
        }
    }
}

/// Which of the two responses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum MirrorSide {
    /// The mirror's response.
    Mirror,
    /// The response that the client got.
    Served,
}

impl LabelEnum for MirrorSide {
    const ALL: &'static [Self] = &[Self::Mirror, Self::Served];

    fn as_str(self) -> &'static str {
        match self {
            Self::Mirror => "mirror",
            Self::Served => "served",
        }
    }
}

metric_group! {
    /// Mirrored requests
    pub(crate) struct MirrorMetrics by MirrorId {
        /// How long mirrors took, and the responses that were served.
        ///
        /// Sides: `mirror`, `served`.
        duration_seconds: HistogramOf<MirrorSide, DurationSeconds> = "ringside_mirror_duration_seconds" ["gen_ai_request_model", "target", "side"];
        /// What mirrors cost, in nano-dollars.
        cost_nanousd: Counter = "ringside_mirror_cost_nanousd_total" ["gen_ai_request_model", "target"];
        /// Mirrors whose cost is not known.
        cost_unknown: Counter = "ringside_mirror_cost_unknown_total" ["gen_ai_request_model", "target"];
    }
}

impl MirrorMetrics {
    /// Counts one request.
    pub(crate) fn record(&mut self, request: &MirroredRequest) {
        let MirroredRequest {
            served,
            mirror,
            cost_nanousd,
        } = request;
        self.duration_seconds
            .record(MirrorSide::Served, served.as_secs_f64());
        self.duration_seconds
            .record(MirrorSide::Mirror, mirror.as_secs_f64());
        match cost_nanousd {
            Some(nanousd) => self.cost_nanousd.add(*nanousd),
            None => self.cost_unknown.increment(),
        }
    }
}
