//! A socket with deadlines that reads and writes owned buffers.
//!
//! Each socket has a reader task with exactly one read in flight, which passes the received bytes to the socket. A
//! wait for bytes is therefore a wait for memory: it can be dropped at any point without losing bytes, and a hang-up
//! of the peer is noticed even while nobody reads. When the socket is dropped, the reader task cancels its read and
//! awaits it.

use crate::runtime::buffer;
use crate::runtime::clock;
use crate::runtime::deadline::Registration;
use crate::runtime::reader::{ReadBuffer, read_into};
use crate::runtime::spawn;
use crate::runtime::turn::Turn;
use monoio::buf::IoBuf;
use monoio::io::{AsyncWriteRent, CancelableAsyncReadRent, Canceller, OwnedWriteHalf, Splitable};
use monoio::net::{TcpStream, UnixStream};
use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

/// Why an operation on a socket failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SocketError {
    /// The deadline passed.
    Deadline,
    /// The peer closed the connection.
    Closed,
    /// The kernel reported this kind of error.
    Kernel(io::ErrorKind),
    /// The TLS peer violated the protocol or is not trusted.
    Tls,
    /// The waiting side interrupted the operation.
    Interrupted(Interruption),
}

impl std::fmt::Display for SocketError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Deadline => f.write_str("deadline passed"),
            Self::Closed => f.write_str("connection closed by peer"),
            Self::Kernel(kind) => write!(f, "{kind}"),
            Self::Tls => f.write_str("TLS error"),
            Self::Interrupted(_) => f.write_str("interrupted"),
        }
    }
}

/// A connected TCP or Unix stream socket of this core.
pub struct Socket {
    inbound: Rc<RefCell<ReadBuffer>>,
    /// The turn of the task that owns the socket.
    turn: Turn,
    writer: Writer,
    read_canceller: Option<Canceller>,
}

enum Writer {
    Tcp(OwnedWriteHalf<TcpStream>),
    Unix(OwnedWriteHalf<UnixStream>),
}

/// Connects to `addr`.
///
/// # Errors
/// [`SocketError::Deadline`] or the kernel's error.
pub async fn connect(addr: SocketAddr, by: Instant) -> Result<Socket, SocketError> {
    // A connect may be dropped in flight: monoio closes the socket together with the operation.
    let stream = before(by, TcpStream::connect_addr(addr))
        .await
        .ok_or(SocketError::Deadline)?
        .map_err(|error| SocketError::Kernel(error.kind()))?;
    Socket::from_monoio(stream)
}

/// The result of `future`, or `None` after `by`. `future` must be safe to drop.
pub async fn before<F: Future>(by: Instant, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut registration: Option<Registration> = None;
    poll_fn(|cx| {
        if let Poll::Ready(output) = future.as_mut().poll(cx) {
            return Poll::Ready(Some(output));
        }
        match &registration {
            Some(registration) if registration.is_expired(cx) => Poll::Ready(None),
            Some(_) => Poll::Pending,
            None => {
                registration = Some(Registration::new(by, cx));
                Poll::Pending
            }
        }
    })
    .await
}

impl Socket {
    /// Takes over an accepted TCP connection; sets TCP_NODELAY.
    ///
    /// # Errors
    /// The kernel's error.
    pub fn from_tcp(stream: std::net::TcpStream) -> Result<Self, SocketError> {
        // The ring needs a blocking socket, epoll a non-blocking one.
        stream
            .set_nonblocking(monoio::utils::is_legacy())
            .and_then(|()| TcpStream::from_std(stream))
            .map_err(|error| SocketError::Kernel(error.kind()))
            .and_then(Self::from_monoio)
    }

    /// Takes over an accepted Unix-socket connection.
    ///
    /// # Errors
    /// The kernel's error.
    pub fn from_unix(stream: std::os::unix::net::UnixStream) -> Result<Self, SocketError> {
        let stream = stream
            .set_nonblocking(monoio::utils::is_legacy())
            .and_then(|()| UnixStream::from_std(stream))
            .map_err(|error| SocketError::Kernel(error.kind()))?;
        let (reader, writer) = stream.into_split();
        Ok(Self::start(reader, Writer::Unix(writer)))
    }

    fn from_monoio(stream: TcpStream) -> Result<Self, SocketError> {
        stream
            .set_nodelay(true)
            .map_err(|error| SocketError::Kernel(error.kind()))?;
        let (reader, writer) = stream.into_split();
        Ok(Self::start(reader, Writer::Tcp(writer)))
    }

    fn start(reader: impl CancelableAsyncReadRent + 'static, writer: Writer) -> Self {
        let inbound = Rc::new(RefCell::new(ReadBuffer::default()));
        let read_canceller = Canceller::new();
        let handle = read_canceller.handle();
        let shared = Rc::clone(&inbound);
        let shared_on_panic = Rc::clone(&inbound);
        spawn::spawn(read_into(reader, shared, handle), move |_| {
            shared_on_panic
                .borrow_mut()
                .finish(Err(io::ErrorKind::Other));
        });
        Self {
            inbound,
            turn: Turn::default(),
            writer,
            read_canceller: Some(read_canceller),
        }
    }

    /// Appends received bytes to `into`, and waits for at least one. Zero means that the peer closed.
    ///
    /// # Errors
    /// [`SocketError::Deadline`] without losing bytes, or the kernel's error.
    pub async fn fill(&mut self, into: &mut Vec<u8>, by: Instant) -> Result<usize, SocketError> {
        before(by, poll_fn(|cx| self.poll_fill(into, cx)))
            .await
            .unwrap_or(Err(SocketError::Deadline))
    }

    /// Like [`Socket::fill`], but an interruption ends the wait without losing bytes.
    ///
    /// # Errors
    /// As [`Socket::fill`], or [`SocketError::Interrupted`].
    pub async fn fill_unless(
        &mut self,
        into: &mut Vec<u8>,
        by: Instant,
        interrupt: &mut impl Interrupt,
    ) -> Result<usize, SocketError> {
        let filled = poll_fn(|cx| {
            if let Poll::Ready(filled) = self.poll_fill(into, cx) {
                return Poll::Ready(filled);
            }
            let why = std::task::ready!(interrupt.poll_interrupt(cx));
            Poll::Ready(Err(SocketError::Interrupted(why)))
        });
        before(by, filled)
            .await
            .unwrap_or(Err(SocketError::Deadline))
    }

    /// Like [`Socket::fill`], for one poll. Bytes that are ready are withheld until the task's next turn, once it has
    /// taken as much as one turn allows.
    pub fn poll_fill(
        &mut self,
        into: &mut Vec<u8>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<usize, SocketError>> {
        let mut inbound = self.inbound.borrow_mut();
        let count = inbound.ready.len();
        if count > 0 {
            ready!(self.turn.poll_next(cx));
            self.turn.record(count);
            if into.is_empty() {
                std::mem::swap(into, &mut inbound.ready);
            } else {
                into.extend_from_slice(&inbound.ready);
                inbound.ready.clear();
            }
            if let Some(reader) = inbound.paused.take() {
                reader.wake();
            }
            return Poll::Ready(Ok(count));
        }
        match inbound.end {
            Some(end) => Poll::Ready(end.map(|()| 0).map_err(SocketError::Kernel)),
            None => {
                self.turn.waited();
                inbound.wait(cx);
                Poll::Pending
            }
        }
    }

    /// Records that the owner served a request, and waits for its next turn if it has served as many as one turn
    /// allows.
    pub async fn end_request(&mut self) {
        self.turn.record(0);
        self.turn.next().await;
    }

    /// Ready after the peer closed or the connection broke, even if there are unread bytes.
    pub fn poll_ended(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut inbound = self.inbound.borrow_mut();
        if inbound.end.is_some() {
            return Poll::Ready(());
        }
        inbound.wait(cx);
        Poll::Pending
    }

    /// Drops what arrives, until the peer closes, `bytes_max` were dropped or `by` has passed. Nothing can be read
    /// afterwards.
    pub async fn discard(&mut self, bytes_max: usize, by: Instant) {
        {
            let mut inbound = self.inbound.borrow_mut();
            buffer::give(std::mem::take(&mut inbound.ready));
            inbound.discards = Some(bytes_max);
            if let Some(reader) = inbound.paused.take() {
                reader.wake();
            }
        }
        let over = poll_fn(|cx| {
            let mut inbound = self.inbound.borrow_mut();
            if inbound.end.is_some() || inbound.discards == Some(0) {
                return Poll::Ready(());
            }
            inbound.wait(cx);
            Poll::Pending
        });
        let _ = before(by, over).await;
    }

    /// Whether the connection can be used again: there are no unread bytes and the peer has not closed.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        let inbound = self.inbound.borrow();
        inbound.ready.is_empty() && inbound.end.is_none()
    }

    /// Returns unused read memory to the pool, before the connection becomes idle.
    pub fn release_memory(&mut self) {
        let mut inbound = self.inbound.borrow_mut();
        if inbound.ready.is_empty() && inbound.ready.capacity() > 0 {
            buffer::give(std::mem::take(&mut inbound.ready));
        }
    }

    /// Writes all of `bytes` and returns the buffer.
    ///
    /// # Errors
    /// [`SocketError::Deadline`] after the write in flight was cancelled and awaited (close the connection, because
    /// it is unknown how much was sent), or the kernel's error.
    pub async fn write_all(
        &mut self,
        bytes: Vec<u8>,
        by: Instant,
    ) -> (Result<(), SocketError>, Vec<u8>) {
        self.write_all_unless(bytes, by, &mut NoInterrupt).await
    }

    /// Like [`Socket::write_all`]; an interruption ends the write in flight as the deadline would.
    ///
    /// # Errors
    /// As [`Socket::write_all`], or [`SocketError::Interrupted`].
    pub async fn write_all_unless(
        &mut self,
        bytes: Vec<u8>,
        by: Instant,
        interrupt: &mut impl Interrupt,
    ) -> (Result<(), SocketError>, Vec<u8>) {
        let mut bytes = bytes;
        let mut sent = 0;
        while sent < bytes.len() {
            let end = bytes.len();
            let slice = bytes.slice(sent..end);
            let ((outcome, slice), interrupted) = match &mut self.writer {
                Writer::Tcp(half) => write_before(by, half, slice, interrupt).await,
                Writer::Unix(half) => write_before(by, half, slice, interrupt).await,
            };
            bytes = slice.into_inner();
            if let Some(why) = interrupted {
                return (Err(SocketError::Interrupted(why)), bytes);
            }
            match outcome {
                Ok(0) => return (Err(SocketError::Closed), bytes),
                Ok(count) => sent += count,
                Err(_) if clock::now() >= by => return (Err(SocketError::Deadline), bytes),
                Err(error) => return (Err(SocketError::Kernel(error.kind())), bytes),
            }
        }
        (Ok(()), bytes)
    }
}

impl Socket {
    /// Shuts down the sending side; reading continues.
    pub async fn finish_writing(&mut self) {
        let _ = match &mut self.writer {
            Writer::Tcp(half) => half.shutdown().await,
            Writer::Unix(half) => half.shutdown().await,
        };
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        let mut inbound = self.inbound.borrow_mut();
        inbound.dropped = true;
        if let Some(reader) = inbound.paused.take() {
            reader.wake();
        }
        buffer::give(std::mem::take(&mut inbound.ready));
        drop(inbound);
        if let Some(canceller) = self.read_canceller.take() {
            canceller.cancel();
        }
    }
}

/// Writes. After `by` or an interruption the sending side is shut down, which makes the write in flight fail, and the
/// write is still awaited. (A canceller would cost an insertion into a hash set and a removal per write.)
async fn write_before<S, B>(
    by: Instant,
    half: &mut OwnedWriteHalf<S>,
    bytes: B,
    interrupt: &mut impl Interrupt,
) -> (monoio::BufResult<usize, B>, Option<Interruption>)
where
    S: AsyncWriteRent,
    B: IoBuf,
{
    let shared = Rc::clone(&half.0);
    let mut write = pin!(half.write(bytes));
    let ended = poll_fn(|cx| {
        if let Poll::Ready(output) = write.as_mut().poll(cx) {
            return Poll::Ready(Ok(output));
        }
        interrupt.poll_interrupt(cx).map(Err)
    });
    let interrupted = match before(by, ended).await {
        Some(Ok(output)) => return (output, None),
        Some(Err(why)) => Some(why),
        None => None,
    };
    // Dropping a write half shuts the sending side down.
    drop(OwnedWriteHalf(shared));
    (write.await, interrupted)
}

/// Why a wait was interrupted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interruption {
    /// The client hung up.
    ClientGone,
    /// The process stops and its drain deadline passed.
    Drained,
    /// The result is no longer needed, because another attempt succeeded.
    HedgeCancelled,
}

/// Never interrupts a wait.
pub struct NoInterrupt;

impl Interrupt for NoInterrupt {
    fn poll_interrupt(&mut self, _: &mut Context<'_>) -> Poll<Interruption> {
        Poll::Pending
    }
}

/// A source of interruptions, polled in the same task as the awaited operation.
pub trait Interrupt {
    /// Ready when the wait must end.
    fn poll_interrupt(&mut self, cx: &mut Context<'_>) -> Poll<Interruption>;
}
