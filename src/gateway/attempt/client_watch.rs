//! What interrupts an attempt: the client hangs up, the process stops, or the other attempt of a hedged request was
//! faster.

use crate::runtime::io::{Interrupt, Interruption};
use crate::server::client::Client;
use std::cell::{Cell, RefCell};
use std::task::{Context, Poll};

/// Watches the client for one attempt; two attempts of one request share it.
pub(crate) struct ClientWatch<'w, 'c> {
    /// Nothing is written to the client while attempts are in flight.
    pub client: &'w RefCell<&'c mut Client>,
    /// The other attempt was faster.
    pub is_cancelled: &'w Cell<bool>,
}

impl Interrupt for ClientWatch<'_, '_> {
    fn poll_interrupt(&mut self, cx: &mut Context<'_>) -> Poll<Interruption> {
        if self.is_cancelled.get() {
            return Poll::Ready(Interruption::HedgeCancelled);
        }
        self.client.borrow_mut().poll_interrupt(cx)
    }
}
