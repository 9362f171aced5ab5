//! Fairness between the tasks of a core: a task that always finds its next bytes ready ends its turn after a while.
//!
//! monoio runs tasks until none is ready before it waits for events, and a task that wakes itself runs next. Without a
//! limit, a client that pipelines requests would keep its core from everybody else, and from all timers. A task whose
//! turn is over waits until the driver has been asked for events: it is woken by a byte in a socket pair of the core.

use crate::runtime::clock;
use monoio::io::AsyncReadRent;
use monoio::net::UnixStream;
use std::cell::RefCell;
use std::future::poll_fn;
use std::io::Write;
use std::os::unix::net::UnixStream as BlockingUnixStream;
use std::task::{Context, Poll, Waker};

/// Requests, or arrivals of bytes, that a task handles in one turn.
pub(crate) const STEPS_PER_TURN: u32 = 8;
/// Bytes that a task takes from its socket in one turn.
pub(crate) const BYTES_PER_TURN: usize = 64 * 1024;

/// How much a task did since it last waited.
#[derive(Debug, Default)]
pub(crate) struct Turn {
    steps: u32,
    bytes: usize,
    /// The round in which the turn ended; the task continues in the next one.
    ended_in: Option<u64>,
}

impl Turn {
    /// Records a step that handled so many bytes.
    pub(crate) fn record(&mut self, bytes: usize) {
        self.steps += 1;
        self.bytes = self.bytes.saturating_add(bytes);
    }

    /// Records that the task waited, so that others could run.
    pub(crate) fn waited(&mut self) {
        *self = Self::default();
    }

    /// Ready while the turn lasts. When it is over, the task is woken for its next turn.
    pub(crate) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let is_over = self.steps >= STEPS_PER_TURN || self.bytes >= BYTES_PER_TURN;
        if !is_over {
            return Poll::Ready(());
        }
        ROUNDS.with_borrow_mut(|rounds| match self.ended_in {
            Some(round) if round != rounds.number => {
                *self = Self::default();
                Poll::Ready(())
            }
            _ => {
                self.ended_in = Some(rounds.number);
                rounds.wait(cx);
                Poll::Pending
            }
        })
    }

    /// Waits for the next turn if this one is over.
    pub(crate) async fn next(&mut self) {
        poll_fn(|cx| self.poll_next(cx)).await;
    }
}

thread_local! {
    static ROUNDS: RefCell<Rounds> = RefCell::default();
}

/// The tasks of a core whose turn is over.
#[derive(Default)]
struct Rounds {
    number: u64,
    waiting: Vec<Waker>,
    /// Ends the round; `None` until the first turn ends.
    bell: Option<BlockingUnixStream>,
}

impl Rounds {
    fn wait(&mut self, cx: &Context<'_>) {
        let is_first = self.waiting.is_empty();
        let waker = cx.waker();
        if self
            .waiting
            .last()
            .is_none_or(|last| !last.will_wake(waker))
        {
            self.waiting.push(waker.clone());
        }
        if is_first && !self.ring() {
            // Without descriptors for a socket pair: the task still lets all tasks that are ready run.
            self.end();
        }
    }

    /// Makes the driver report an event. False if that is not possible.
    fn ring(&mut self) -> bool {
        if self.bell.is_none() {
            self.bell = start();
        }
        let Some(bell) = &mut self.bell else {
            return false;
        };
        bell.write(&[0]).is_ok()
    }

    /// Begins the next round.
    fn end(&mut self) {
        self.number += 1;
        for waker in self.waiting.drain(..) {
            waker.wake();
        }
    }
}

/// Starts the task that ends the rounds, and returns what wakes it.
fn start() -> Option<BlockingUnixStream> {
    let (bell, receiver) = BlockingUnixStream::pair().ok()?;
    bell.set_nonblocking(true).ok()?;
    // The ring needs a blocking socket, epoll a non-blocking one.
    receiver.set_nonblocking(monoio::utils::is_legacy()).ok()?;
    let receiver = UnixStream::from_std(receiver).ok()?;
    drop(monoio::spawn(end_rounds(receiver)));
    Some(bell)
}

async fn end_rounds(mut receiver: UnixStream) {
    let mut buffer = Vec::with_capacity(8);
    loop {
        let (outcome, returned) = receiver.read(buffer).await;
        buffer = returned;
        // Updates the clock for the tasks that this wakes.
        let _ = clock::now();
        ROUNDS.with_borrow_mut(|rounds| {
            if !matches!(outcome, Ok(count) if count > 0) {
                // The next turn that ends starts another socket pair.
                rounds.bell = None;
            }
            rounds.end();
        });
        if !matches!(outcome, Ok(count) if count > 0) {
            return;
        }
    }
}
