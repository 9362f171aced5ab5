//! The graceful stop of a core: idle connections close, busy ones may finish, and are interrupted at the deadline.

use crate::runtime::io::{Interrupt, Interruption};
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

/// The state of the stop, shared by the connections of a core.
#[derive(Default)]
pub struct Drain {
    begun: Cell<bool>,
    expired: Cell<bool>,
    next: Cell<u64>,
    waiting: RefCell<HashMap<u64, Option<Waker>, foldhash::fast::RandomState>>,
}

/// The registration of one connection; dropping it removes the connection.
pub struct ConnectionGuard {
    drain: Rc<Drain>,
    id: u64,
}

impl Drain {
    /// Registers a connection.
    #[must_use]
    pub fn enter(self: &Rc<Self>) -> ConnectionGuard {
        let id = self.next.get();
        self.next.set(id + 1);
        self.waiting.borrow_mut().insert(id, None);
        ConnectionGuard {
            drain: Rc::clone(self),
            id,
        }
    }

    /// The number of registered connections.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.waiting.borrow().len()
    }

    /// Begins the stop: idle connections close.
    pub fn begin(&self) {
        self.begun.set(true);
        self.wake_all();
    }

    /// Reports that the deadline passed: busy connections end now.
    pub fn expire(&self) {
        self.begun.set(true);
        self.expired.set(true);
        self.wake_all();
    }

    /// Whether the stop has begun.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        self.begun.get()
    }

    fn wake_all(&self) {
        for waker in self.waiting.borrow_mut().values_mut() {
            if let Some(waker) = waker.take() {
                waker.wake();
            }
        }
    }
}

impl ConnectionGuard {
    /// Whether the stop has begun; the task is woken when it does.
    pub fn poll_begun(&self, cx: &mut Context<'_>) -> bool {
        self.wait(cx);
        self.drain.begun.get()
    }

    /// Whether the deadline has passed; the task is woken when it does.
    pub fn poll_expired(&self, cx: &mut Context<'_>) -> bool {
        self.wait(cx);
        self.drain.expired.get()
    }

    /// Whether the stop has begun.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        self.drain.begun.get()
    }

    fn wait(&self, cx: &mut Context<'_>) {
        if let Some(slot) = self.drain.waiting.borrow_mut().get_mut(&self.id) {
            match slot {
                Some(waker) if waker.will_wake(cx.waker()) => {}
                slot => *slot = Some(cx.waker().clone()),
            }
        }
    }
}

impl Interrupt for ConnectionGuard {
    fn poll_interrupt(&mut self, cx: &mut Context<'_>) -> Poll<Interruption> {
        if self.poll_expired(cx) {
            return Poll::Ready(Interruption::Drained);
        }
        Poll::Pending
    }
}

impl Drop for ConnectionGuard {
    fn drop(&mut self) {
        self.drain.waiting.borrow_mut().remove(&self.id);
    }
}
