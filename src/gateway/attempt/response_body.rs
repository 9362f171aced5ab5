//! Why the body of a response could not be read to its end.

use crate::routing::health::Outcome;
use crate::runtime::io::Interruption;
use crate::upstream::exchange::UpstreamBodyError;

/// Why an answer could not be read to its end.
pub(crate) enum ResponseBodyError {
    /// Larger than is held.
    TooLarge,
    /// Broken or interrupted.
    Body(UpstreamBodyError),
    /// A stream that said by an event that it failed, or ended unfinished, before any of it was relayed.
    Stream(&'static str),
    /// The request's deadline passed.
    Deadline,
}

impl ResponseBodyError {
    /// Outcome in metrics.
    pub(crate) fn outcome(&self) -> &'static str {
        match self {
            Self::TooLarge => "too_large",
            Self::Body(UpstreamBodyError::Broken(_)) => "broken_off",
            Self::Body(UpstreamBodyError::Stalled) => "stalled",
            Self::Stream(_) => "stream_failed",
            Self::Deadline => "deadline",
            Self::Body(UpstreamBodyError::Interrupted(Interruption::ClientGone)) => {
                "client_disconnected"
            }
            Self::Body(UpstreamBodyError::Interrupted(Interruption::Drained)) => "drained",
            Self::Body(UpstreamBodyError::Interrupted(Interruption::HedgeCancelled)) => {
                "hedge_cancelled"
            }
        }
    }

    /// What routing learns from it.
    pub(crate) fn comparison(&self) -> Outcome {
        match self {
            // A large answer is the request's doing.
            Self::TooLarge => Outcome::Good,
            Self::Body(UpstreamBodyError::Broken(_) | UpstreamBodyError::Stalled) => {
                Outcome::Unusable
            }
            Self::Stream(_) => Outcome::StreamBroke,
            Self::Body(UpstreamBodyError::Interrupted(_)) | Self::Deadline => Outcome::Abandoned,
        }
    }
}
