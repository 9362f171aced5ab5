//! The client of a request as the gateway sees it: it receives responses, sends a streamed body, and may hang up.

use crate::error::gateway_error::GatewayError;
use crate::http::encode;
use crate::runtime::buffer;
use crate::runtime::clock;
use crate::runtime::io::{Interrupt, Interruption, SocketError, before};
use crate::runtime::source::{BodyProgress, Source};
use crate::runtime::stream::Stream;
use crate::server::body_memory::{BodyReservation, make_room};
use crate::server::drain::ConnectionGuard;
use crate::server::request_body::Upload;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

/// Followers of a coalesced request: other clients that wait for the same response.
pub trait Followers {
    /// Ready once there are no followers.
    fn poll_no_followers(&self, cx: &mut Context<'_>) -> Poll<()>;
}

/// A connected client.
pub struct Client {
    pub(crate) stream: Stream,
    pub(crate) guard: ConnectionGuard,
    pub(crate) write_timeout: Duration,
    /// Whether the connection may serve another request.
    pub keep_alive: bool,
    /// Whether the request was HTTP/1.0: its response must not be chunked.
    pub is_http10: bool,
    /// Whether the request was HEAD: its response has no body.
    pub is_head: bool,
    /// The request's body, if it is read piece by piece.
    pub upload: Option<Upload>,
    /// The memory that the request's body takes; `None` before it is known whose request it is.
    pub(crate) body_reservation: Option<BodyReservation>,
    /// Followers of this request. While there are any, a hang-up of this client does not interrupt the request.
    pub followers: Option<Arc<dyn Followers>>,
}

impl Client {
    /// Writes all of `bytes` and returns the buffer.
    ///
    /// # Errors
    /// The client is gone or does not read (`server.write_timeout`); the connection is then closed.
    pub async fn write(&mut self, bytes: Vec<u8>) -> (Result<(), SocketError>, Vec<u8>) {
        let by = clock::recent() + self.write_timeout;
        let (outcome, bytes) = self.stream.write_all(bytes, by).await;
        if outcome.is_err() {
            self.keep_alive = false;
        }
        (outcome, bytes)
    }

    /// Whether responses must say `connection: close`.
    #[must_use]
    pub fn says_close(&self) -> bool {
        let leaves_body = self.upload.as_ref().is_some_and(|upload| !upload.is_done());
        !self.keep_alive || leaves_body || self.guard.has_begun()
    }

    /// Buffers the whole body of a request whose body is read piece by piece.
    ///
    /// # Errors
    /// 408, 503 if there is no room for it, or the client is gone.
    pub async fn whole_upload(&mut self) -> Result<Vec<u8>, WholeUploadError> {
        let length = self.upload.as_ref().map_or(0, Upload::length);
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        if let Some(reservation) = &self.body_reservation {
            reservation
                .check(length)
                .map_err(WholeUploadError::Refused)?;
        }
        let mut body = buffer::take(buffer::CLASS_BYTES[0]);
        self.start().await.map_err(|_| WholeUploadError::Gone)?;
        let due = self.due();
        let mut piece = buffer::take(buffer::CLASS_BYTES[0]);
        loop {
            let next = before(due, poll_fn(|cx| self.poll_next(&mut piece, cx))).await;
            let progress = next
                .ok_or(WholeUploadError::Late)?
                .map_err(|_| WholeUploadError::Gone)?;
            make_room(
                self.body_reservation.as_mut(),
                &mut body,
                piece.len(),
                length,
            )
            .map_err(WholeUploadError::Refused)?;
            body.append(&mut piece);
            if progress == BodyProgress::Done {
                buffer::give(piece);
                return Ok(body);
            }
        }
    }
}

/// Why a body that is read piece by piece could not be buffered.
pub enum WholeUploadError {
    /// It did not arrive in time.
    Late,
    /// The client is gone.
    Gone,
    /// There is no room for it.
    Refused(GatewayError),
}

impl Interrupt for Client {
    fn poll_interrupt(&mut self, cx: &mut Context<'_>) -> Poll<Interruption> {
        let followers = self.followers.as_ref();
        if self.stream.poll_ended(cx).is_ready()
            && followers.is_none_or(|followers| followers.poll_no_followers(cx).is_ready())
        {
            return Poll::Ready(Interruption::ClientGone);
        }
        if self.guard.poll_expired(cx) {
            return Poll::Ready(Interruption::Drained);
        }
        Poll::Pending
    }
}

impl Source for Client {
    async fn start(&mut self) -> Result<(), SocketError> {
        let upload = self.upload.as_mut();
        if upload.is_none_or(|upload| !upload.take_waits_for_continue()) {
            return Ok(());
        }
        self.write(encode::CONTINUE.to_vec()).await.0
    }

    fn poll_next(
        &mut self,
        into: &mut Vec<u8>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<BodyProgress, SocketError>> {
        match &mut self.upload {
            Some(upload) => upload.poll_next(&mut self.stream, into, cx),
            None => Poll::Ready(Ok(BodyProgress::Done)),
        }
    }

    fn due(&self) -> Instant {
        let due = self.upload.as_ref().map(Upload::due);
        due.unwrap_or_else(clock::recent)
    }

    fn extend_due(&mut self, pause: Duration) {
        if let Some(upload) = &mut self.upload {
            upload.extend_due(pause);
        }
    }
}
