//! Reads the body of a response to its end, or says why it could not be read. It must not know what the body holds.

use crate::gateway::attempt::classify;
use crate::observability::metrics::upstream::AttemptOutcome;
use crate::routing::health::Outcome;
use crate::runtime::clock;
use crate::runtime::io::Interrupt;
use crate::runtime::source::BodyProgress;
use crate::upstream::exchange::{UpstreamBodyError, UpstreamResponse};
use crate::upstream::response_memory::ResponseReservation;
use std::time::{Duration, Instant};

/// Limits on reading one body.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BodyLimits {
    pub bytes_max: usize,
    /// Longest wait for the next bytes.
    pub read_timeout: Duration,
    /// When the request's deadline passes; `None` if it has none.
    pub deadline: Option<Instant>,
}

pub(crate) enum ResponseBodyError {
    /// Larger than the limit.
    TooLarge,
    /// The responses in memory leave no room for it.
    NoRoom,
    /// Broken or interrupted.
    Body(UpstreamBodyError),
    /// A stream reported an error by an event, or ended unfinished, before any of it was relayed.
    Stream(&'static str),
    /// The request's deadline passed.
    Deadline,
}

/// Appends the bytes that arrive next to `body`.
pub(crate) async fn read_piece<H>(
    response: &mut UpstreamResponse<H>,
    body: &mut Vec<u8>,
    limits: BodyLimits,
    interrupt: &mut impl Interrupt,
) -> Result<BodyProgress, ResponseBodyError> {
    let timeout_at = clock::recent() + limits.read_timeout;
    let by = limits
        .deadline
        .map_or(timeout_at, |deadline| deadline.min(timeout_at));
    response
        .read(body, by, interrupt)
        .await
        .map_err(|error| match error {
            UpstreamBodyError::Stalled
                if limits
                    .deadline
                    .is_some_and(|deadline| clock::now() >= deadline) =>
            {
                ResponseBodyError::Deadline
            }
            error => ResponseBodyError::Body(error),
        })
}

/// Appends the rest of the body to `body`, whose memory `reservation` counts.
pub(crate) async fn read_to_end<H>(
    response: &mut UpstreamResponse<H>,
    body: &mut Vec<u8>,
    reservation: &mut ResponseReservation,
    limits: BodyLimits,
    interrupt: &mut impl Interrupt,
) -> Result<(), ResponseBodyError> {
    while read_piece(response, body, limits, interrupt).await? == BodyProgress::More {
        let announced = usize::try_from(response.announced()).unwrap_or(usize::MAX);
        if body.len().saturating_add(announced) > limits.bytes_max {
            return Err(ResponseBodyError::TooLarge);
        }
        if !reservation.grow_to(body.capacity()) {
            return Err(ResponseBodyError::NoRoom);
        }
    }
    Ok(())
}

impl ResponseBodyError {
    pub(crate) fn outcome(&self) -> AttemptOutcome {
        match self {
            Self::TooLarge | Self::NoRoom => AttemptOutcome::TooLarge,
            Self::Body(error) => classify::outcome_of_body_error(error),
            Self::Stream(_) => AttemptOutcome::StreamFailed,
            Self::Deadline => AttemptOutcome::Deadline,
        }
    }

    /// What routing learns from it.
    pub(crate) fn health(&self) -> Outcome {
        match self {
            // The request is the reason for a large response.
            Self::TooLarge | Self::NoRoom => Outcome::Good,
            Self::Body(UpstreamBodyError::Broken(_) | UpstreamBodyError::Stalled) => {
                Outcome::Unusable
            }
            Self::Stream(_) => Outcome::StreamBroke,
            Self::Body(UpstreamBodyError::Interrupted(_)) | Self::Deadline => Outcome::Abandoned,
        }
    }
}
