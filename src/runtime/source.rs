//! A body that arrives in pieces from another connection. It must not know what its bytes mean.

use crate::runtime::io::{Interrupt, SocketError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

/// The progress of reading a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BodyProgress {
    /// Bytes were appended; more will follow.
    More,
    /// The body is complete; bytes may have been appended.
    Done,
}

/// The sender of a body that is forwarded while it arrives.
pub(crate) trait Source: Interrupt {
    /// Lets the sender start, e.g. by answering `expect: 100-continue`.
    ///
    /// # Errors
    /// The sender is gone.
    fn start(&mut self) -> impl Future<Output = Result<(), SocketError>>;

    /// Appends the next bytes to `into`: at least one, or the end of the body.
    ///
    /// # Errors
    /// The body was interrupted.
    fn poll_next(
        &mut self,
        into: &mut Vec<u8>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<BodyProgress, SocketError>>;

    /// The deadline by which the body must be complete.
    fn due(&self) -> Instant;

    /// Extends the read deadline by `pause`, during which we did not read.
    fn extend_due(&mut self, pause: Duration);
}
