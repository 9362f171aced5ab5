//! Who sends which request when.
//!
//! In a closed loop a connection takes the next number as soon as it is free. In an open loop a
//! thread of its own keeps the time, because the runtime's timers are good to a millisecond only:
//! it sleeps until the next request is due and tells the worker, whose free connections take what
//! is due in turn. What finds no connection free waits, and its latency counts from when it was due.

use super::pace::Pace;
use ringside::runtime::mailbox::{Receiver, Sender};
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

/// Requests that became due together: number of each, and when.
pub(super) type Due = Vec<(u64, Instant)>;

/// What is due on a worker.
#[derive(Default)]
pub(super) struct Queue {
    due: RefCell<VecDeque<(u64, Instant)>>,
    idle: RefCell<VecDeque<Waker>>,
    closed: Cell<bool>,
}

impl Queue {
    /// Takes in what the time keeper sends, until it has sent all.
    pub(super) async fn fill(&self, mut inbox: Receiver<Due>) {
        while let Some(due) = inbox.next().await {
            self.due.borrow_mut().extend(due);
            let count = self.due.borrow().len();
            for _ in 0..count {
                let Some(waker) = self.idle.borrow_mut().pop_front() else {
                    break;
                };
                waker.wake();
            }
        }
        self.closed.set(true);
        for waker in self.idle.borrow_mut().drain(..) {
            waker.wake();
        }
    }

    /// The next that is due; `None` when there will be none.
    pub(super) async fn next(&self) -> Option<(u64, Instant)> {
        poll_fn(|cx| {
            if let Some(next) = self.due.borrow_mut().pop_front() {
                return Poll::Ready(Some(next));
            }
            if self.closed.get() {
                return Poll::Ready(None);
            }
            self.idle.borrow_mut().push_back(cx.waker().clone());
            Poll::Pending
        })
        .await
    }

    /// Takes away all that is left.
    pub(super) fn abandon(&self) -> Vec<(u64, Instant)> {
        self.due.borrow_mut().drain(..).collect()
    }
}

/// The part of a pace that one worker sends.
pub(super) struct Part {
    /// The whole pace.
    pub pace: Pace,
    /// Every so many-th request is sent by this worker …
    pub workers: u64,
    /// … beginning with this.
    pub worker: u64,
    /// When the warm-up begins.
    pub began_at: Instant,
    /// Length of the warm-up.
    pub warm_up: Duration,
    /// Length of the measurement.
    pub duration: Duration,
    /// At most so many requests, of all workers.
    pub requests: Option<u64>,
}

/// Keeps the time for one worker; ends when all was sent or the worker is gone.
pub(super) fn keep_time(part: &Part, sender: &Sender<Due>) {
    let mut turn = part.worker;
    let end = part.warm_up + part.duration;
    let next = |turn: u64| {
        let over = part.requests.is_some_and(|most| turn >= most);
        let at = part.pace.sent_at(turn, part.warm_up, part.duration);
        (!over && at < end).then(|| part.began_at + at)
    };
    while let Some(at) = next(turn) {
        std::thread::sleep(at.saturating_duration_since(ringside::runtime::clock::now()));
        let now = ringside::runtime::clock::now();
        let mut due = Vec::new();
        while let Some(at) = next(turn).filter(|at| *at <= now) {
            due.push((turn, at));
            turn += part.workers;
        }
        if !due.is_empty() && !sender.send(due) {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringside::runtime::clock;
    use ringside::runtime::core::{DriverChoice, run};
    use ringside::runtime::mailbox::mailbox;
    use ringside::runtime::spawn;
    use std::rc::Rc;

    #[test]
    fn nothing_is_sent_early_and_nothing_is_lost() {
        let taken = Rc::new(RefCell::new(Vec::new()));
        let (took, queue) = (Rc::clone(&taken), Rc::new(Queue::default()));
        run(DriverChoice::Epoll, move |_| async move {
            let (sender, inbox) = mailbox();
            let part = Part {
                pace: Pace::Fixed(500.0),
                workers: 2,
                worker: 1,
                began_at: clock::now(),
                warm_up: Duration::ZERO,
                duration: Duration::from_millis(400),
                requests: Some(151),
            };
            let keeper = std::thread::spawn(move || keep_time(&part, &sender));
            let filled = Rc::clone(&queue);
            spawn::spawn(async move { filled.fill(inbox).await }, |_| {});
            while let Some((turn, at)) = queue.next().await {
                let late = clock::now().checked_duration_since(at);
                took.borrow_mut().push((turn, late));
            }
            keeper.join().unwrap();
        })
        .unwrap();
        let taken = taken.take();
        let turns: Vec<u64> = taken.iter().map(|(turn, _)| *turn).collect();
        assert_eq!(turns, (0..75).map(|at| at * 2 + 1).collect::<Vec<_>>());
        assert!(taken.iter().all(|(_, late)| late.is_some()));
    }
}
