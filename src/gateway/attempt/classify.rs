//! What routing learns from the end of an attempt.

use crate::gateway::core::micros;
use crate::routing::health::Outcome;
use crate::upstream::exchange::UpstreamError;
use std::time::Duration;

/// What routing learns from an answer's status.
pub(crate) fn outcome_of(status: u16, wait: Option<Duration>) -> Outcome {
    match status {
        401 | 403 => Outcome::KeyRefused,
        408 => Outcome::TimedOut,
        429 => Outcome::RateLimited(wait.map(micros)),
        500..=599 => Outcome::ServerError,
        _ => Outcome::Good,
    }
}

/// What routing learns from a fault before the answer.
pub(crate) fn outcome_of_fault(fault: &UpstreamError) -> Outcome {
    match fault {
        UpstreamError::NoAddress(_)
        | UpstreamError::NoCredentials(_)
        | UpstreamError::Connect(_)
        | UpstreamError::Tls(_) => Outcome::NotConnected,
        UpstreamError::FirstByte => Outcome::TimedOut,
        UpstreamError::Died { .. } | UpstreamError::Malformed(_) => Outcome::Unusable,
        UpstreamError::Interrupted(_) => Outcome::Abandoned,
    }
}
