//! The reader task of a socket, and the buffer through which it passes received bytes to the socket's owner. It must not
//! know what the bytes are.

use crate::runtime::buffer;
use crate::runtime::clock;
use crate::runtime::turn::Turn;
use monoio::io::{CancelHandle, CancelableAsyncReadRent};
use std::cell::RefCell;
use std::future::poll_fn;
use std::io::ErrorKind;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

/// Most unread bytes before the reader task pauses.
pub(crate) const UNREAD_BYTES_MAX: usize = 64 * 1024;

/// State shared by the reader task and the socket.
#[derive(Default)]
pub(crate) struct ReadBuffer {
    pub ready: Vec<u8>,
    pub end: Option<Result<(), ErrorKind>>,
    pub dropped: bool,
    /// Bytes that are still dropped instead of kept, if the owner reads nothing more.
    pub discards: Option<usize>,
    pub waiting: Option<Waker>,
    pub paused: Option<Waker>,
}

impl ReadBuffer {
    pub(crate) fn wait(&mut self, cx: &mut Context<'_>) {
        match &mut self.waiting {
            Some(waker) => waker.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
    }

    pub(crate) fn wake(&mut self) {
        if let Some(waker) = self.waiting.take() {
            waker.wake();
        }
    }

    pub(crate) fn finish(&mut self, end: Result<(), ErrorKind>) {
        self.end = Some(end);
        self.wake();
    }

    /// Takes over a filled buffer and returns an empty one if possible.
    pub(crate) fn deliver(&mut self, mut arrived: Vec<u8>) -> Vec<u8> {
        if let Some(left) = &mut self.discards {
            *left = left.saturating_sub(arrived.len());
            if *left == 0 {
                self.wake();
            }
            arrived.clear();
            return arrived;
        }
        if self.ready.is_empty() {
            std::mem::swap(&mut self.ready, &mut arrived);
        } else {
            self.ready.extend_from_slice(&arrived);
            arrived.clear();
        }
        self.wake();
        arrived
    }
}

/// The reader task of one socket.
pub(crate) async fn read_into(
    mut reader: impl CancelableAsyncReadRent,
    inbound: Rc<RefCell<ReadBuffer>>,
    handle: CancelHandle,
) {
    let mut next_bytes = buffer::CLASS_BYTES[0];
    let mut spare = Vec::new();
    let mut turn = Turn::default();
    loop {
        if spare.capacity() < next_bytes {
            buffer::give(std::mem::replace(&mut spare, buffer::take(next_bytes)));
        }
        let (outcome, mut arrived) = reader.cancelable_read(spare, handle.clone()).await;
        // Updates the clock for the task that this read wakes.
        let _ = clock::now();
        match outcome {
            Ok(count) if count > 0 => {
                arrived.truncate(count);
                // A read that filled its buffer is followed by a larger one, a small read by the smallest.
                next_bytes = if count == arrived.capacity() {
                    buffer::CLASS_BYTES[buffer::CLASS_BYTES.len() - 1]
                } else {
                    buffer::CLASS_BYTES[0]
                };
                spare = inbound.borrow_mut().deliver(arrived);
            }
            ended => {
                buffer::give(arrived);
                let end = ended.map(|_| ()).map_err(|error| error.kind());
                inbound.borrow_mut().finish(end);
                return;
            }
        }
        // Without an owner that takes the bytes, nothing else ends the turn.
        if inbound.borrow().discards.is_some() {
            turn.record(next_bytes);
            turn.next().await;
        }
        // Back-pressure: wait while the owner has enough unread bytes.
        poll_fn(|cx| {
            let mut inbound = inbound.borrow_mut();
            if inbound.dropped || inbound.ready.len() < UNREAD_BYTES_MAX {
                return Poll::Ready(());
            }
            inbound.paused = Some(cx.waker().clone());
            Poll::Pending
        })
        .await;
        if inbound.borrow().dropped {
            return;
        }
    }
}
