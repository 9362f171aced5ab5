//! Metrics of admission control: requests that wait for a permit of a target.

use crate::base::names::Name;
use crate::observability::metrics::counters::CounterBy;
use crate::observability::metrics::gauges::SumGaugeBy;
use crate::observability::metrics::group::metric_group;
use crate::observability::metrics::histogram::DurationSeconds;
use crate::observability::metrics::histograms::HistogramBy;
use crate::observability::metrics::labels::LabelEnum;

/// Why a request that wanted a permit got none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum ShedReason {
    /// No more requests may wait.
    QueueFull,
    /// It waited for as long as a request may.
    QueueDeadline,
    /// A request of a higher priority took its position in the queue.
    Displaced,
    /// Its own deadline passed.
    Deadline,
    ClientDisconnected,
    /// The process stopped.
    Drained,
}

impl LabelEnum for ShedReason {
    const ALL: &'static [Self] = &[
        Self::QueueFull,
        Self::QueueDeadline,
        Self::Displaced,
        Self::Deadline,
        Self::ClientDisconnected,
        Self::Drained,
    ];

    fn as_str(self) -> &'static str {
        match self {
            Self::QueueFull => "queue_full",
            Self::QueueDeadline => "queue_deadline",
            Self::Displaced => "displaced",
            Self::Deadline => "deadline",
            Self::ClientDisconnected => "client_disconnected",
            Self::Drained => "drained",
        }
    }
}

metric_group! {
    /// Admission control
    pub(crate) struct AdmissionMetrics {
        /// Requests that may be in flight at a target.
        ///
        /// Over all cores that used it, with `admission`.
        target_limit: SumGaugeBy<Name> = "ringside_target_limit" ["target"];
        /// Requests that wait for a permit of a target.
        queue: SumGaugeBy<Name> = "ringside_admission_queue" ["gen_ai_request_model"];
        /// Requests that may wait.
        queue_max: SumGaugeBy<Name> = "ringside_admission_queue_max" ["gen_ai_request_model"];
        /// How long requests that got a permit had waited for it.
        wait_seconds: HistogramBy<Name, DurationSeconds> = "ringside_admission_wait_seconds" ["gen_ai_request_model"];
        /// Requests that wanted a permit and got none, by reason.
        ///
        /// Reasons: `queue_full`, `queue_deadline`, `displaced`, `deadline` (their own), `client_disconnected`,
        /// `drained`.
        shed: CounterBy<(Name, ShedReason)> = "ringside_admission_shed_total" ["gen_ai_request_model", "reason"];
    }
}
