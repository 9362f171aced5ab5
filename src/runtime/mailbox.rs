//! Messages from other threads into a core.
//!
//! The sender may be on any thread and never blocks; the receiver is awaited on the core.

use futures_channel::mpsc;
use futures_core::Stream;
use std::future::poll_fn;
use std::pin::Pin;

/// Sending end; cheap to clone.
pub struct Sender<M>(mpsc::UnboundedSender<M>);

impl<M> Clone for Sender<M> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<M> Sender<M> {
    /// Sends a message; false if the core has ended.
    pub fn send(&self, message: M) -> bool {
        self.0.unbounded_send(message).is_ok()
    }
}

/// Receiving end.
pub struct Receiver<M>(mpsc::UnboundedReceiver<M>);

impl<M> Receiver<M> {
    /// The next message; `None` after the last sender was dropped.
    pub async fn next(&mut self) -> Option<M> {
        poll_fn(|cx| Pin::new(&mut self.0).poll_next(cx)).await
    }
}

/// A mailbox. It is not bounded itself; its senders are: the acceptor by the connection limit, the control plane by
/// one message per scrape or command.
#[must_use]
pub fn mailbox<M>() -> (Sender<M>, Receiver<M>) {
    let (sender, receiver) = mpsc::unbounded();
    (Sender(sender), Receiver(receiver))
}
