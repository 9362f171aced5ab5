//! Why the body of a response could not be read to its end.

use crate::gateway::attempt::classify;
use crate::observability::metrics::upstream::AttemptOutcome;
use crate::routing::health::Outcome;
use crate::upstream::exchange::UpstreamBodyError;

pub(crate) enum ResponseBodyError {
    /// Larger than the gateway buffers.
    TooLarge,
    /// Broken or interrupted.
    Body(UpstreamBodyError),
    /// A stream reported an error by an event, or ended unfinished, before any of it was relayed.
    Stream(&'static str),
    /// The request's deadline passed.
    Deadline,
}

impl ResponseBodyError {
    pub(crate) fn outcome(&self) -> AttemptOutcome {
        match self {
            Self::TooLarge => AttemptOutcome::TooLarge,
            Self::Body(error) => classify::outcome_of_body_error(error),
            Self::Stream(_) => AttemptOutcome::StreamFailed,
            Self::Deadline => AttemptOutcome::Deadline,
        }
    }

    /// What routing learns from it.
    pub(crate) fn health(&self) -> Outcome {
        match self {
            // The request is the reason for a large response.
            Self::TooLarge => Outcome::Good,
            Self::Body(UpstreamBodyError::Broken(_) | UpstreamBodyError::Stalled) => {
                Outcome::Unusable
            }
            Self::Stream(_) => Outcome::StreamBroke,
            Self::Body(UpstreamBodyError::Interrupted(_)) | Self::Deadline => Outcome::Abandoned,
        }
    }
}
