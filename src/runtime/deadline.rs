//! Deadlines of a core's waits, without one timer per wait.
//!
//! Nearly every wait ends long before its deadline, so setting a timer for each would be wasted work. Waits register
//! in a slot here, and one task per core sleeps until the earliest deadline.

use crate::runtime::clock;
use std::cell::RefCell;
use std::future::poll_fn;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

/// Shortest pause between two checks of the slots, and so the precision of deadlines.
const PRECISION: Duration = Duration::from_millis(2);
/// Longest pause: a slot that is no longer needed can keep the earliest deadline too early for this long.
const PAUSE_MAX: Duration = Duration::from_secs(60);

#[derive(Default)]
struct Deadlines {
    slots: Vec<Slot>,
    free: Vec<usize>,
    /// The time of the next check; `None` while the task is not running.
    next_check: Option<Instant>,
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

/// A registered wait; dropping it removes it.
pub(crate) struct Registration(usize);

impl Registration {
    /// Registers a wait that ends at `by`, when the task is woken.
    #[must_use]
    pub(crate) fn new(by: Instant, cx: &Context<'_>) -> Self {
        DEADLINES.with_borrow_mut(|all| {
            let slot = Slot::Waiting {
                by,
                waker: cx.waker().clone(),
            };
            match all.next_check {
                None => {
                    all.next_check = Some(by);
                    drop(monoio::spawn(check_forever()));
                }
                Some(next) if by < next => {
                    all.next_check = Some(by);
                    if let Some(keeper) = all.keeper.take() {
                        keeper.wake();
                    }
                }
                Some(_) => {}
            }
            Self(all.put(slot))
        })
    }

    /// Whether the deadline has passed; if not, the task of `cx` will be woken.
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

    /// Wakes the waits that are due and returns the time of the next check.
    fn check(&mut self, now: Instant) -> Instant {
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

/// The task that checks the deadlines of a core.
async fn check_forever() {
    loop {
        let next = DEADLINES.with_borrow_mut(|all| {
            let next = all.check(clock::now());
            all.next_check = Some(next);
            next
        });
        let mut sleep = pin!(monoio::time::sleep_until(next.into()));
        // Ends early if an earlier deadline is registered.
        poll_fn(|cx| {
            let earlier = DEADLINES.with_borrow_mut(|all| {
                all.keeper = Some(cx.waker().clone());
                all.next_check.is_some_and(|look| look < next)
            });
            if earlier {
                return Poll::Ready(());
            }
            sleep.as_mut().poll(cx)
        })
        .await;
        // The shortest pause applies even if the new deadline is earlier.
        let soonest = clock::now() + PRECISION;
        let look = DEADLINES.with_borrow(|all| all.next_check);
        if look.is_some_and(|look| look < soonest) {
            monoio::time::sleep_until(soonest.into()).await;
        }
    }
}
