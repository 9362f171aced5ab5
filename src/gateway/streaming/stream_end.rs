//! How a stream ended for one client, and the errors that it can end with.

use crate::error::code::ErrorCode;
use crate::error::gateway_error::GatewayError;
use crate::runtime::io::Interruption;
use crate::upstream::exchange::UpstreamBodyError;

pub(crate) enum StreamEnd {
    /// All of it was relayed.
    Complete,
    ClientGone,
    /// The client read too slowly for a shared stream.
    TooSlow(GatewayError),
    /// The provider broke off.
    Upstream(GatewayError),
    /// The process stops.
    Drained,
}

impl StreamEnd {
    /// The provider sent an event that exceeds the limit.
    pub(crate) fn event_too_large() -> Self {
        Self::Upstream(GatewayError::new(
            ErrorCode::UpstreamEventTooLarge,
            "the provider sent an event larger than the limit; the stream is not complete",
        ))
    }

    /// The body ended, but not the stream in it.
    pub(crate) fn truncated() -> Self {
        Self::Upstream(GatewayError::new(
            ErrorCode::UpstreamTruncated,
            "the provider ended the stream without finishing its answer",
        ))
    }
}

impl From<UpstreamBodyError> for StreamEnd {
    fn from(error: UpstreamBodyError) -> Self {
        match error {
            UpstreamBodyError::Interrupted(Interruption::ClientGone) => Self::ClientGone,
            UpstreamBodyError::Interrupted(_) => Self::Drained,
            UpstreamBodyError::Broken(_) | UpstreamBodyError::Stalled => {
                let reason = error.why();
                Self::Upstream(GatewayError::new(
                    ErrorCode::UpstreamClosedEarly,
                    format!("the provider broke off in the middle of the stream ({reason})"),
                ))
            }
        }
    }
}

/// The error when a stream ends because the process stops.
pub(crate) fn shutting_down() -> GatewayError {
    GatewayError::new(
        ErrorCode::ShuttingDown,
        "the gateway is stopping; the stream is not complete",
    )
}
