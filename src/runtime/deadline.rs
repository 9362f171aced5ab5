//! Deadlines of a core's waits, without a timer for each.
//!
//! Nearly every wait ends long before its deadline, so arming and disarming a timer per wait is waste.
//! Waits register here by a slot, and one task per core sleeps until the earliest deadline it knows.

use crate::runtime::clock;
use std::cell::RefCell;
use std::future::poll_fn;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

/// Shortest pause between two looks at the slots: deadlines are kept to about this precision.
const PRECISION: Duration = Duration::from_millis(2);
/// Longest pause: bounds how long a slot that nobody needs keeps the earliest deadline too early.
const PAUSE_MAX: Duration = Duration::from_secs(60);

#[derive(Default)]
struct Deadlines {
    slots: Vec<Slot>,
    free: Vec<usize>,
    /// When the keeper looks next; `None` while it is not running.
    next_look: Option<Instant>,
    keeper: Option<Waker>,
}

enum Slot {
    Free,
    Waiting { by: Instant, waker: Waker },
    Expired,
}

thread_local! {
    static DEADLINES: RefCell<Deadlines> = RefCell::default();
}

/// A registered wait; leaves when dropped.
pub(crate) struct Registration(usize);

impl Registration {
    /// Registers a wait that ends at `by`: the task is woken then.
    #[must_use]
    pub(crate) fn new(by: Instant, cx: &Context<'_>) -> Self {
        DEADLINES.with_borrow_mut(|all| {
            let slot = Slot::Waiting {
                by,
                waker: cx.waker().clone(),
            };
            match all.next_look {
                None => {
                    all.next_look = Some(by);
                    drop(monoio::spawn(keep()));
                }
                Some(next) if by < next => {
                    all.next_look = Some(by);
                    if let Some(keeper) = all.keeper.take() {
                        keeper.wake();
                    }
                }
                Some(_) => {}
            }
            Self(all.put(slot))
        })
    }

    /// Whether the deadline has passed; else the task of `cx` is the one to be woken.
    #[must_use]
    pub(crate) fn is_expired(&self, cx: &Context<'_>) -> bool {
        DEADLINES.with_borrow_mut(|all| match all.slots.get_mut(self.0) {
            Some(Slot::Waiting { waker, .. }) => {
                if !waker.will_wake(cx.waker()) {
                    waker.clone_from(cx.waker());
                }
                false
            }
            _ => true,
        })
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        DEADLINES.with_borrow_mut(|all| {
            if let Some(slot) = all.slots.get_mut(self.0) {
                *slot = Slot::Free;
                all.free.push(self.0);
            }
        });
    }
}

impl Deadlines {
    fn put(&mut self, new: Slot) -> usize {
        if let Some(at) = self.free.pop()
            && let Some(slot) = self.slots.get_mut(at)
        {
            *slot = new;
            return at;
        }
        self.slots.push(new);
        self.slots.len() - 1
    }

    /// Expires what is due and finds when to look next.
    fn look(&mut self, now: Instant) -> Instant {
        let mut next = now + PAUSE_MAX;
        for slot in &mut self.slots {
            let Slot::Waiting { by, .. } = slot else {
                continue;
            };
            if *by > now {
                next = next.min(*by);
            } else if let Slot::Waiting { waker, .. } = std::mem::replace(slot, Slot::Expired) {
                waker.wake();
            }
        }
        next.max(now + PRECISION)
    }
}

/// The task that keeps the deadlines of a core.
async fn keep() {
    loop {
        let next = DEADLINES.with_borrow_mut(|all| {
            let next = all.look(clock::now());
            all.next_look = Some(next);
            next
        });
        let mut sleep = pin!(monoio::time::sleep_until(next.into()));
        // Ends early when an earlier deadline was registered.
        poll_fn(|cx| {
            let earlier = DEADLINES.with_borrow_mut(|all| {
                all.keeper = Some(cx.waker().clone());
                all.next_look.is_some_and(|look| look < next)
            });
            if earlier {
                return Poll::Ready(());
            }
            sleep.as_mut().poll(cx)
        })
        .await;
        // Not before the precision's pause, however early the new deadline is.
        let soonest = clock::now() + PRECISION;
        let look = DEADLINES.with_borrow(|all| all.next_look);
        if look.is_some_and(|look| look < soonest) {
            monoio::time::sleep_until(soonest.into()).await;
        }
    }
}
