//! Bytes that come piece by piece from another connection. It must not know what they are.

use crate::runtime::io::{Interrupt, SocketError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

/// What comes next of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// Bytes were appended, more will come.
    More,
    /// Bytes may have been appended; they were the last.
    Last,
}

/// Where a body comes from while it is passed on.
pub(crate) trait Source: Interrupt {
    /// Has whoever sends it begin, if it waits to be told.
    ///
    /// # Errors
    /// It is gone.
    fn begin(&mut self) -> impl Future<Output = Result<(), SocketError>>;

    /// Appends what has come to `into`: at least one byte, or the end.
    ///
    /// # Errors
    /// It broke off before its end.
    fn poll_next(
        &mut self,
        into: &mut Vec<u8>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Next, SocketError>>;

    /// When all of it must have come.
    fn due(&self) -> Instant;

    /// It was not read for so long, which is none of its fault.
    fn excuse(&mut self, pause: Duration);
}
