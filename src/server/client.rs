//! The client's side of a connection, as the journey sees it: where answers go, and whether it is still there.

use crate::runtime::clock;
use crate::runtime::io::{Interrupt, Interruption, SocketError};
use crate::runtime::stream::Stream;
use crate::server::drain::ConnectionGuard;
use crate::server::request_body::Upload;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

/// Others who wait for the answer to this client's request.
pub trait Followers {
    /// Resolves once there are no followers.
    fn poll_no_followers(&self, cx: &mut Context<'_>) -> Poll<()>;
}

/// A connected client.
pub struct Client {
    pub(crate) stream: Stream,
    pub(crate) place: ConnectionGuard,
    pub(crate) write_timeout: Duration,
    /// The connection may serve another request after this one.
    pub keep_alive: bool,
    /// The request was HTTP/1.0: no chunked answers.
    pub is_http10: bool,
    /// The request was HEAD: no bodies.
    pub is_head: bool,
    /// The request's body, where it comes in pieces.
    pub upload: Option<Upload>,
    /// Who else waits for the answer: while somebody does, this client's hang-up interrupts nothing.
    pub followers: Option<Arc<dyn Followers>>,
}

impl Client {
    /// Writes all of `bytes`; hands the buffer back.
    ///
    /// # Errors
    /// The client is gone or does not read (`server.write_timeout`); the connection is closed then.
    pub async fn write(&mut self, bytes: Vec<u8>) -> (Result<(), SocketError>, Vec<u8>) {
        let by = clock::recent() + self.write_timeout;
        let (outcome, bytes) = self.stream.write_all(bytes, by).await;
        if outcome.is_err() {
            self.keep_alive = false;
        }
        (outcome, bytes)
    }

    /// Whether answers must say `connection: close`.
    #[must_use]
    pub fn says_close(&self) -> bool {
        let leaves_body = self.upload.as_ref().is_some_and(|one| !one.is_done());
        !self.keep_alive || leaves_body || self.place.has_begun()
    }
}

impl Interrupt for Client {
    fn poll_interrupt(&mut self, cx: &mut Context<'_>) -> Poll<Interruption> {
        let followers = self.followers.as_ref();
        if self.stream.poll_ended(cx).is_ready()
            && followers.is_none_or(|others| others.poll_no_followers(cx).is_ready())
        {
            return Poll::Ready(Interruption::ClientGone);
        }
        if self.place.poll_expired(cx) {
            return Poll::Ready(Interruption::Drained);
        }
        Poll::Pending
    }
}
