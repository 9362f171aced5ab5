//! Messages from other threads into a core.
//!
//! The sender may live on any thread and never blocks; the receiver is awaited on the core.

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
    /// Sends a message; false when the core has ended.
    pub fn send(&self, message: M) -> bool {
        self.0.unbounded_send(message).is_ok()
    }
}

/// Receiving end.
pub struct Receiver<M>(mpsc::UnboundedReceiver<M>);

impl<M> Receiver<M> {
    /// The next message; `None` when every sender is gone.
    pub async fn next(&mut self) -> Option<M> {
        poll_fn(|cx| Pin::new(&mut self.0).poll_next(cx)).await
    }
}

/// A mailbox. What bounds it is the senders: the acceptor (limited by the connection cap) and the
/// control plane (one message per scrape or command).
#[must_use]
pub fn mailbox<M>() -> (Sender<M>, Receiver<M>) {
    let (sender, receiver) = mpsc::unbounded();
    (Sender(sender), Receiver(receiver))
}
