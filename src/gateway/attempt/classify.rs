//! What the end of an attempt means for metrics and for the health of its target.

use crate::gateway::core::micros;
use crate::observability::metrics::upstream::AttemptOutcome;
use crate::protocols::status_class::StatusClass;
use crate::routing::health::Outcome;
use crate::runtime::io::Interruption;
use crate::upstream::exchange::{UpstreamBodyError, UpstreamError};
use std::time::Duration;

/// What routing learns from a response; `retry_after` is how long a 429 says to wait.
pub(crate) fn health_of_status(class: StatusClass, retry_after: Option<Duration>) -> Outcome {
    match class {
        StatusClass::Ok | StatusClass::ClientError => Outcome::Good,
        StatusClass::Unauthorized => Outcome::KeyRefused,
        StatusClass::Timeout => Outcome::TimedOut,
        StatusClass::RateLimited => Outcome::RateLimited(retry_after.map(micros)),
        StatusClass::ServerError => Outcome::ServerError,
    }
}

/// What routing learns from an exchange without a response.
pub(crate) fn health_of_error(error: &UpstreamError) -> Outcome {
    match error {
        UpstreamError::NoAddress(_)
        | UpstreamError::NoCredentials(_)
        | UpstreamError::Connect(_)
        | UpstreamError::Tls(_) => Outcome::NotConnected,
        UpstreamError::FirstByte => Outcome::TimedOut,
        UpstreamError::Died { .. } | UpstreamError::Malformed(_) => Outcome::Unusable,
        UpstreamError::Interrupted(_) => Outcome::Abandoned,
    }
}

/// The outcome of an exchange without a response, in metrics.
pub(crate) fn outcome_of_error(error: &UpstreamError) -> AttemptOutcome {
    match error {
        UpstreamError::NoAddress(_) => AttemptOutcome::NoAddress,
        UpstreamError::NoCredentials(_) => AttemptOutcome::NoCredentials,
        UpstreamError::Connect(_) => AttemptOutcome::ConnectFailed,
        UpstreamError::Tls(_) => AttemptOutcome::TlsFailed,
        UpstreamError::FirstByte => AttemptOutcome::FirstByteTimeout,
        UpstreamError::Died { .. } => AttemptOutcome::ConnectionDied,
        UpstreamError::Malformed(_) => AttemptOutcome::Malformed,
        UpstreamError::Interrupted(interruption) => outcome_of_interruption(*interruption),
    }
}

/// The outcome of an attempt whose body could not be read, in metrics.
pub(crate) fn outcome_of_body_error(error: &UpstreamBodyError) -> AttemptOutcome {
    match error {
        UpstreamBodyError::Broken(_) => AttemptOutcome::BrokenOff,
        UpstreamBodyError::Stalled => AttemptOutcome::Stalled,
        UpstreamBodyError::Interrupted(interruption) => outcome_of_interruption(*interruption),
    }
}

fn outcome_of_interruption(interruption: Interruption) -> AttemptOutcome {
    match interruption {
        Interruption::ClientGone => AttemptOutcome::ClientDisconnected,
        Interruption::Drained => AttemptOutcome::Drained,
        Interruption::HedgeCancelled => AttemptOutcome::HedgeCancelled,
    }
}
