//! A request body that is read piece by piece while it arrives, so that it is never buffered whole. It must not know
//! the client's connection or the destination of the body.

use crate::http::framing::{BodyLength, BodyReader};
use crate::runtime::io::SocketError;
use crate::runtime::source::BodyProgress;
use crate::runtime::stream::Stream;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

/// Shorter bodies are buffered: that costs little, and allows a second attempt.
pub(crate) const PIECES_FROM_BYTES: u64 = 256 * 1024;

/// A body that is arriving.
pub struct Upload {
    length_bytes: u64,
    reader: BodyReader,
    /// Bytes that arrived and were not read yet.
    input: Vec<u8>,
    /// Whether the client sent `expect: 100-continue` and waits for the interim response.
    waits_for_continue: bool,
    due: Instant,
}

impl Upload {
    /// A body of `length_bytes` that begins with `input` and must be complete by `due`.
    pub(crate) fn new(
        length_bytes: u64,
        input: Vec<u8>,
        waits_for_continue: bool,
        due: Instant,
    ) -> Self {
        Self {
            length_bytes,
            reader: BodyReader::new(BodyLength::Exact(length_bytes)),
            waits_for_continue: waits_for_continue && input.is_empty(),
            input,
            due,
        }
    }

    /// The length of the whole body in bytes, from `content-length`.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.length_bytes
    }

    /// Whether the whole body was read.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.reader.is_done()
    }

    /// The deadline by which the body must be complete.
    pub(crate) fn due(&self) -> Instant {
        self.due
    }

    pub(crate) fn extend_due(&mut self, pause: Duration) {
        self.due += pause;
    }

    /// Whether the client still waits for `100 Continue`; false after the first call.
    pub(crate) fn take_waits_for_continue(&mut self) -> bool {
        std::mem::take(&mut self.waits_for_continue)
    }

    /// Appends the next bytes to `into`: at least one, or the end of the body.
    pub(crate) fn poll_next(
        &mut self,
        stream: &mut Stream,
        into: &mut Vec<u8>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<BodyProgress, SocketError>> {
        let before = into.len();
        loop {
            let consumed = self.reader.read(&self.input, into);
            // Only chunks can be malformed, and this body has a length.
            let consumed = consumed.map_err(|_| SocketError::Closed)?;
            if consumed == self.input.len() {
                self.input.clear();
            } else {
                self.input.drain(..consumed);
            }
            if self.reader.is_done() {
                return Poll::Ready(Ok(BodyProgress::Done));
            }
            if into.len() > before {
                return Poll::Ready(Ok(BodyProgress::More));
            }
            if ready!(stream.poll_fill(&mut self.input, cx))? == 0 {
                return Poll::Ready(Err(SocketError::Closed));
            }
        }
    }

    /// The bytes after the body, if the body is complete.
    pub(crate) fn into_rest(self) -> Vec<u8> {
        self.input
    }
}
