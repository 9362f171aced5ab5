//! A request's body that is handed over in pieces while it arrives, so that it needs not be held. It must not
//! know where it goes.

use crate::http::encode;
use crate::http::framing::{BodyLength, BodyReader};
use crate::runtime::buffer;
use crate::runtime::clock;
use crate::runtime::io::{SocketError, before};
use crate::runtime::source::{Next, Source};
use crate::server::client::Client;
use std::future::poll_fn;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

/// A body shorter than this is read whole: that costs little, and then it can be sent again.
pub(crate) const PIECES_FROM_BYTES: u64 = 256 * 1024;

/// A body on its way in.
pub struct Upload {
    /// Its length in bytes.
    length: u64,
    reader: BodyReader,
    /// What arrived and was not handed over.
    input: Vec<u8>,
    /// The client waits to be told to send it.
    waits_for_continue: bool,
    due: Instant,
}

impl Upload {
    /// A body of `length` bytes that begins with `input` and is to be there by `due`.
    pub(crate) fn new(length: u64, input: Vec<u8>, waits_for_continue: bool, due: Instant) -> Self {
        Self {
            length,
            reader: BodyReader::new(BodyLength::Exact(length)),
            waits_for_continue: waits_for_continue && input.is_empty(),
            input,
            due,
        }
    }

    /// Its length in bytes.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.length
    }

    /// All of it was handed over.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.reader.is_done()
    }

    /// What follows it, once it is done.
    pub(crate) fn into_rest(self) -> Vec<u8> {
        self.input
    }
}

impl Client {
    /// Reads all of the body that is to come in pieces, for a receiver that needs it whole.
    ///
    /// # Errors
    /// [`IoFault::Deadline`], or the client is gone.
    pub async fn whole_upload(&mut self) -> Result<Vec<u8>, SocketError> {
        let length = self.upload.as_ref().map_or(0, Upload::length);
        // As much as is there, not as much as is said to come.
        let most = buffer::CLASS_BYTES[buffer::CLASS_BYTES.len() - 1];
        let mut body = buffer::take(usize::try_from(length).map_or(most, |all| all.min(most)));
        self.begin().await?;
        let due = self.due();
        loop {
            let next = before(due, poll_fn(|cx| self.poll_next(&mut body, cx))).await;
            match next.unwrap_or(Err(SocketError::Deadline))? {
                Next::More => {}
                Next::Last => return Ok(body),
            }
        }
    }
}

impl Source for Client {
    async fn begin(&mut self) -> Result<(), SocketError> {
        let waits = self.upload.as_mut().map(|one| &mut one.waits_for_continue);
        if waits.is_none_or(|waits| !std::mem::take(waits)) {
            return Ok(());
        }
        self.write(encode::CONTINUE.to_vec()).await.0
    }

    fn poll_next(
        &mut self,
        into: &mut Vec<u8>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Next, SocketError>> {
        let Some(upload) = &mut self.upload else {
            return Poll::Ready(Ok(Next::Last));
        };
        let before = into.len();
        loop {
            let consumed = upload.reader.read(&upload.input, into);
            // Only chunks can be malformed.
            let consumed = consumed.map_err(|_| SocketError::Closed)?;
            if consumed == upload.input.len() {
                upload.input.clear();
            } else {
                upload.input.drain(..consumed);
            }
            if upload.reader.is_done() {
                return Poll::Ready(Ok(Next::Last));
            }
            if into.len() > before {
                return Poll::Ready(Ok(Next::More));
            }
            if ready!(self.stream.poll_fill(&mut upload.input, cx))? == 0 {
                return Poll::Ready(Err(SocketError::Closed));
            }
        }
    }

    fn due(&self) -> Instant {
        let due = self.upload.as_ref().map(|upload| upload.due);
        due.unwrap_or_else(clock::recent)
    }

    fn excuse(&mut self, pause: Duration) {
        if let Some(upload) = &mut self.upload {
            upload.due += pause;
        }
    }
}
