//! Metrics of upstream attempts and connections.

use crate::base::names::Name;
use crate::observability::metrics::counters::{Counter, CounterBy};
use crate::observability::metrics::gauges::SumGauge;
use crate::observability::metrics::group::metric_group;
use crate::observability::metrics::histogram::DurationSeconds;
use crate::observability::metrics::histograms::HistogramBy;
use crate::observability::metrics::labels::LabelKey;
use crate::protocols::status_class::StatusClass;

/// How an upstream attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum AttemptOutcome {
    /// With a response of this class.
    Status(StatusClass),
    NoAddress,
    NoCredentials,
    ConnectFailed,
    TlsFailed,
    FirstByteTimeout,
    /// The connection was closed before the response.
    ConnectionDied,
    /// The received bytes are not an HTTP response.
    Malformed,
    /// The request's own deadline passed.
    Deadline,
    /// The client's body did not arrive in time.
    RequestTimeout,
    /// The body is larger than the gateway buffers.
    TooLarge,
    /// The body ended or broke in the middle.
    BrokenOff,
    /// No byte of the body arrived in time.
    Stalled,
    /// The stream reported an error before any of it was relayed.
    StreamFailed,
    NotJson,
    ClientDisconnected,
    /// The process stopped.
    Drained,
    /// The other attempt of a hedged request was faster.
    HedgeCancelled,
    /// A mirror or a hit sample got a response.
    Mirror,
    MirrorFailed,
}

impl AttemptOutcome {
    /// Value of the label `outcome`.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Status(class) => class.as_str(),
            Self::NoAddress => "no_address",
            Self::NoCredentials => "no_credentials",
            Self::ConnectFailed => "connect_failed",
            Self::TlsFailed => "tls_failed",
            Self::FirstByteTimeout => "first_byte_timeout",
            Self::ConnectionDied => "connection_died",
            Self::Malformed => "malformed",
            Self::Deadline => "deadline",
            Self::RequestTimeout => "request_timeout",
            Self::TooLarge => "too_large",
            Self::BrokenOff => "broken_off",
            Self::Stalled => "stalled",
            Self::StreamFailed => "stream_failed",
            Self::NotJson => "not_json",
            Self::ClientDisconnected => "client_disconnected",
            Self::Drained => "drained",
            Self::HedgeCancelled => "hedge_cancelled",
            Self::Mirror => "mirror",
            Self::MirrorFailed => "mirror_failed",
        }
    }
}

impl LabelKey for AttemptOutcome {
    const COUNT: usize = 1;

    fn push_values(&self, values: &mut Vec<String>) {
        values.push(self.as_str().to_owned());
    }

    #[cfg(test)]
    fn example(number: u64) -> Self {
        [
            Self::Status(StatusClass::Ok),
            Self::Malformed,
            Self::Drained,
        ][(number % 3) as usize]
    }
}

metric_group! {
    /// Upstream
    pub(crate) struct UpstreamMetrics {
        /// Upstream attempts, by target and outcome.
        attempts: CounterBy<(Name, AttemptOutcome)> = "ringside_upstream_attempts_total" ["target", "outcome"];
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
