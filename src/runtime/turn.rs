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
use std::mem::ManuallyDrop;
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
        with_rounds(|rounds| match self.ended_in {
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
    /// Not dropped with the thread: a waker can hold the last reference to a task, whose parts use other variables of
    /// the thread when they are dropped.
    static ROUNDS: ManuallyDrop<RefCell<Rounds>> = ManuallyDrop::default();
}

fn with_rounds<T>(work: impl FnOnce(&mut Rounds) -> T) -> T {
    ROUNDS.with(|rounds| work(&mut rounds.borrow_mut()))
}

/// The tasks of a core whose turn is over.
#[derive(Default)]
struct Rounds {
    number: u64,
    waiting: Vec<Waker>,
    /// Ends the round; `None` if there was no descriptor for it.
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

/// Prepares the core of this thread for tasks that end their turn, while there are descriptors left.
pub(crate) fn prepare() {
    let bell = start();
    with_rounds(|rounds| rounds.bell = bell);
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
        with_rounds(|rounds| {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::core::{DriverChoice, run};
    use std::cell::Cell;
    use std::rc::Rc;
    use std::time::Duration;

    fn on_both_drivers(test: impl AsyncFn() + Send + Copy + 'static) {
        for driver in [DriverChoice::Auto, DriverChoice::Epoll] {
            let core = std::thread::spawn(move || run(driver, async |_| test().await));
            core.join().unwrap().unwrap();
        }
    }

    /// Starts a task that takes step after step until it is stopped, and counts them.
    fn busy_task(is_stopped: &Rc<Cell<bool>>) -> Rc<Cell<u32>> {
        let steps = Rc::new(Cell::new(0));
        let (counted, is_stopped) = (Rc::clone(&steps), Rc::clone(is_stopped));
        drop(monoio::spawn(async move {
            let mut turn = Turn::default();
            while !is_stopped.get() {
                counted.set(counted.get() + 1);
                turn.record(0);
                turn.next().await;
            }
        }));
        steps
    }

    #[test]
    fn busy_tasks_leave_input_and_timers_their_turn_and_take_equal_parts() {
        on_both_drivers(async || {
            let is_stopped = Rc::default();
            let [first, second] = [busy_task(&is_stopped), busy_task(&is_stopped)];
            clock::sleep_until(clock::now() + Duration::from_millis(5)).await;
            let (mut sender, receiver) = BlockingUnixStream::pair().unwrap();
            receiver
                .set_nonblocking(monoio::utils::is_legacy())
                .unwrap();
            let mut receiver = UnixStream::from_std(receiver).unwrap();
            for _ in 0..20 {
                sender.write_all(&[1]).unwrap();
                let before = first.get();
                let (count, _) = receiver.read(Vec::with_capacity(8)).await;
                assert_eq!(count.unwrap(), 1);
                // The byte is there before the next round begins; the rest is the round in which it is reported.
                assert!(
                    first.get() - before <= 4 * STEPS_PER_TURN,
                    "{}",
                    first.get() - before
                );
            }
            is_stopped.set(true);
            let difference = first.get().abs_diff(second.get());
            assert!(
                first.get() > 0 && difference <= STEPS_PER_TURN,
                "{difference}"
            );
        });
    }

    #[test]
    fn a_task_that_waited_begins_a_new_turn() {
        on_both_drivers(async || {
            let mut turn = Turn::default();
            for _ in 0..10 {
                for _ in 0..STEPS_PER_TURN - 1 {
                    turn.record(1);
                    assert!(is_ready(&mut turn).await);
                }
                turn.waited();
            }
            turn.record(BYTES_PER_TURN);
            assert!(!is_ready(&mut turn).await);
            turn.next().await;
            assert!(is_ready(&mut turn).await);
        });
    }

    async fn is_ready(turn: &mut Turn) -> bool {
        poll_fn(|cx| Poll::Ready(turn.poll_next(cx).is_ready())).await
    }
}
