//! A connection, plain or TLS, that reads and writes plain bytes.

use crate::runtime::buffer;
use crate::runtime::io::{Interrupt, NoInterrupt, Socket, SocketError};
use crate::runtime::tls::Session;
use std::future::poll_fn;
use std::task::{Context, Poll};
use std::time::Instant;

/// Why a TLS handshake failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HandshakeError {
    /// The deadline passed, the wait was interrupted, or the connection ended.
    Socket(SocketError),
    /// The peer is not trusted, or does not agree; the reason, for the operator.
    Tls(String),
}

impl std::fmt::Display for HandshakeError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Socket(error) => write!(f, "{error}"),
            Self::Tls(why) => f.write_str(why),
        }
    }
}

/// A plain or TLS stream.
pub struct Stream {
    socket: Socket,
    session: Option<Box<Session>>,
}

impl Stream {
    /// A stream without encryption.
    #[must_use]
    pub fn plain(socket: Socket) -> Self {
        Self {
            socket,
            session: None,
        }
    }

    /// Runs the TLS handshake over `socket`.
    ///
    /// # Errors
    /// [`HandshakeError`].
    pub async fn handshake(
        socket: Socket,
        session: Session,
        by: Instant,
    ) -> Result<Self, HandshakeError> {
        Self::handshake_unless(socket, session, by, &mut NoInterrupt).await
    }

    /// Like [`Stream::handshake`], but an interruption ends it.
    ///
    /// # Errors
    /// As [`Stream::handshake`]; [`SocketError::Interrupted`] is one of them.
    pub async fn handshake_unless(
        socket: Socket,
        session: Session,
        by: Instant,
        interrupt: &mut impl Interrupt,
    ) -> Result<Self, HandshakeError> {
        let mut stream = Self {
            socket,
            session: Some(Box::new(session)),
        };
        match stream.shake_hands(by, interrupt).await {
            Ok(()) => Ok(stream),
            Err(SocketError::Tls) => {
                let session = stream.session.as_mut();
                let why = session.and_then(|session| session.take_fault());
                Err(HandshakeError::Tls(
                    why.unwrap_or_else(|| "TLS error".into()),
                ))
            }
            Err(error) => Err(HandshakeError::Socket(error)),
        }
    }

    async fn shake_hands(
        &mut self,
        by: Instant,
        interrupt: &mut impl Interrupt,
    ) -> Result<(), SocketError> {
        loop {
            self.flush_session(by, interrupt).await?;
            let Some(session) = &mut self.session else {
                return Ok(());
            };
            if !session.is_handshaking() {
                return Ok(());
            }
            let mut cipher = Vec::new();
            let filled = self.socket.fill_unless(&mut cipher, by, interrupt).await?;
            if filled == 0 {
                return Err(SocketError::Closed);
            }
            let took = session.take_in(&cipher);
            buffer::give(cipher);
            if let Err(error) = took {
                // The alert tells the peer the reason; best effort.
                let _ = self.flush_session(by, interrupt).await;
                return Err(error);
            }
        }
    }

    /// Appends received bytes to `into`, and waits for at least one. Zero means that the peer closed.
    ///
    /// # Errors
    /// [`SocketError::Deadline`] without losing bytes, [`SocketError::Tls`] (also for a stream that ended without the
    /// closing alert and may be truncated), or the kernel's error.
    pub async fn fill(&mut self, into: &mut Vec<u8>, by: Instant) -> Result<usize, SocketError> {
        if self.session.is_none() {
            return self.socket.fill(into, by).await;
        }
        crate::runtime::io::before(by, poll_fn(|cx| self.poll_fill(into, cx)))
            .await
            .unwrap_or(Err(SocketError::Deadline))
    }

    /// Like [`Stream::fill`], for one poll.
    pub fn poll_fill(
        &mut self,
        into: &mut Vec<u8>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<usize, SocketError>> {
        let Some(session) = &mut self.session else {
            return self.socket.poll_fill(into, cx);
        };
        loop {
            let count = session.take_out(into);
            if count > 0 {
                return Poll::Ready(Ok(count));
            }
            if session.closed_by_peer() {
                return Poll::Ready(Ok(0));
            }
            let mut cipher = Vec::new();
            match self.socket.poll_fill(&mut cipher, cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(SocketError::Tls)),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Ready(Ok(_)) => {
                    let took = session.take_in(&cipher);
                    buffer::give(cipher);
                    if let Err(error) = took {
                        return Poll::Ready(Err(error));
                    }
                }
            }
        }
    }

    /// Ready after the peer closed; bytes that arrive meanwhile are buffered for the next `fill`.
    pub fn poll_ended(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(session) = &mut self.session else {
            return self.socket.poll_ended(cx);
        };
        loop {
            if session.closed_by_peer() {
                return Poll::Ready(());
            }
            if session.unread() > crate::runtime::reader::UNREAD_BYTES_MAX {
                return Poll::Pending;
            }
            let mut cipher = Vec::new();
            match self.socket.poll_fill(&mut cipher, cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(count)) if count > 0 => {
                    let took = session.take_in(&cipher);
                    buffer::give(cipher);
                    if took.is_err() {
                        return Poll::Ready(());
                    }
                }
                Poll::Ready(_) => return Poll::Ready(()),
            }
        }
    }

    /// Whether the connection can be used again: there are no unread bytes and the peer has not closed.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        self.socket.is_quiet()
            && self
                .session
                .as_ref()
                .is_none_or(|session| !session.closed_by_peer() && session.unread() == 0)
    }

    /// Records that the owner served a request, and waits for its next turn if it has served as many as one turn
    /// allows.
    pub async fn end_request(&mut self) {
        self.socket.end_request().await;
    }

    /// Drops what arrives, until the peer closes, `bytes_max` were dropped or `by` has passed. Nothing can be read
    /// afterwards.
    pub async fn discard(&mut self, bytes_max: usize, by: Instant) {
        self.socket.discard(bytes_max, by).await;
    }

    /// Returns unused read memory to the pool, before the connection becomes idle.
    pub fn release_memory(&mut self) {
        self.socket.release_memory();
    }

    /// Writes all of `bytes` and returns a buffer, which the caller must clear.
    ///
    /// # Errors
    /// Like [`Socket::write_all`]; the connection must then be closed.
    pub async fn write_all(
        &mut self,
        bytes: Vec<u8>,
        by: Instant,
    ) -> (Result<(), SocketError>, Vec<u8>) {
        self.write_all_unless(bytes, by, &mut NoInterrupt).await
    }

    /// Like [`Stream::write_all`]; an interruption ends the write in flight as the deadline would.
    ///
    /// # Errors
    /// Like [`Socket::write_all_unless`]; the connection must then be closed.
    pub async fn write_all_unless(
        &mut self,
        bytes: Vec<u8>,
        by: Instant,
        interrupt: &mut impl Interrupt,
    ) -> (Result<(), SocketError>, Vec<u8>) {
        let Some(session) = &mut self.session else {
            return self.socket.write_all_unless(bytes, by, interrupt).await;
        };
        if let Err(error) = session.put_in(&bytes) {
            return (Err(error), bytes);
        }
        (self.flush_session(by, interrupt).await, bytes)
    }

    /// Sends the TLS closing alert, if there is a session. Best effort.
    pub async fn close(&mut self, by: Instant) {
        if let Some(session) = &mut self.session {
            session.close();
            let _ = self.flush_session(by, &mut NoInterrupt).await;
        }
    }

    /// Shuts down the sending side; reading continues.
    pub async fn finish_writing(&mut self) {
        self.socket.finish_writing().await;
    }

    async fn flush_session(
        &mut self,
        by: Instant,
        interrupt: &mut impl Interrupt,
    ) -> Result<(), SocketError> {
        let Some(session) = &mut self.session else {
            return Ok(());
        };
        let mut cipher = buffer::take(buffer::CLASS_BYTES[0]);
        session.put_out(&mut cipher);
        if cipher.is_empty() {
            buffer::give(cipher);
            return Ok(());
        }
        let (outcome, cipher) = self.socket.write_all_unless(cipher, by, interrupt).await;
        buffer::give(cipher);
        outcome
    }
}
