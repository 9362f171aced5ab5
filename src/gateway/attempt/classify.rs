//! What the end of an attempt means for metrics and for the health of its target.

use crate::error::class::Retry;
use crate::gateway::core::micros;
use crate::observability::metrics::upstream::AttemptOutcome;
use crate::protocols::forwarded_headers::Selects;
use crate::protocols::status_class::StatusClass;
use crate::routing::health::Outcome;
use crate::runtime::io::Interruption;
use crate::upstream::exchange::{UpstreamBodyError, UpstreamError};
use std::time::Duration;

/// Whether a response of this class may be about what the caller's own headers select at the provider: then it says
/// nothing about the gateway's key or the target, which all callers share.
pub(crate) fn is_about_caller(class: StatusClass, selects: Selects) -> bool {
    match class {
        // Without the selection the request might have been accepted.
        StatusClass::Unauthorized | StatusClass::ClientError => selects != Selects::Nothing,
        StatusClass::RateLimited => selects == Selects::Account,
        StatusClass::Ok | StatusClass::Timeout | StatusClass::ServerError => false,
    }
}

/// What may be tried after a response of this class. A refusal of the account that the caller selected is the caller's: no
/// other key or target is tried in its place.
pub(crate) fn retry(class: StatusClass, selects: Selects) -> Retry {
    match (class, selects) {
        (StatusClass::Unauthorized, Selects::Account) => Retry::Never,
        _ => class.retry(),
    }
}

/// What routing learns from a response; `retry_after` is how long a 429 says to wait.
pub(crate) fn health_of_status(
    class: StatusClass,
    retry_after: Option<Duration>,
    selects: Selects,
) -> Outcome {
    if is_about_caller(class, selects) {
        return Outcome::Abandoned;
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_caller_selected_says_nothing_about_the_key() {
        use StatusClass::{ClientError, RateLimited, ServerError, Timeout, Unauthorized};
        for (class, feature, account) in [
            (Unauthorized, true, true),
            (ClientError, true, true),
            (RateLimited, false, true),
            (ServerError, false, false),
            (Timeout, false, false),
            (StatusClass::Ok, false, false),
        ] {
            assert!(!is_about_caller(class, Selects::Nothing), "{class:?}");
            assert_eq!(
                is_about_caller(class, Selects::Feature),
                feature,
                "{class:?}"
            );
            assert_eq!(
                is_about_caller(class, Selects::Account),
                account,
                "{class:?}"
            );
            let health = health_of_status(class, None, Selects::Account);
            assert_eq!(health == Outcome::Abandoned, account, "{class:?}");
        }
    }
}
