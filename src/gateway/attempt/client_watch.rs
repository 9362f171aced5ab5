//! What ends an attempt before its time: the client hangs up, the process stops, or another target
//! answered first.

use crate::runtime::io::{Interrupt, Interruption};
use crate::server::client::Client;
use std::cell::{Cell, RefCell};
use std::task::{Context, Poll};

/// Watches for one attempt. Two that are under way at once watch the same client.
pub(crate) struct ClientWatch<'w, 'c> {
    /// The client. Nothing is written to it while attempts are under way.
    pub client: &'w RefCell<&'c mut Client>,
    /// Another target answered first.
    pub is_outrun: &'w Cell<bool>,
}

impl Interrupt for ClientWatch<'_, '_> {
    fn poll_interrupt(&mut self, cx: &mut Context<'_>) -> Poll<Interruption> {
        if self.is_outrun.get() {
            return Poll::Ready(Interruption::HedgeCancelled);
        }
        self.client.borrow_mut().poll_interrupt(cx)
    }
}
