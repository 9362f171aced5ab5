//! What the control plane holds.
//!
//! The data plane never waits for the control plane: configuration goes out by an atomic swap, commands by
//! mailboxes, records come in by bounded queues. If its thread stands still, requests go on.

use crate::control::core_message::CoreMessage;
use crate::control::reload::Reload;
use crate::gateway::core::Shared;
use crate::observability::log_line::LogLine;
use crate::runtime::mailbox::Sender;
use crate::server::acceptor::AcceptorHandle;
use crossbeam_queue::ArrayQueue;
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// State of the control plane.
pub(crate) struct Plane {
    pub(crate) shared: Arc<Shared>,
    pub(crate) cores: Vec<CoreHandle>,
    pub(crate) acceptors: Vec<AcceptorHandle>,
    pub(crate) addresses: Vec<String>,
    pub(crate) reload: Mutex<Reload>,
    pub(crate) draining: AtomicBool,
    /// Held while compared pairs are written.
    pub(crate) observations_turn: Arc<tokio::sync::Mutex<()>>,
}

/// How the control plane reaches one core.
pub(crate) struct CoreHandle {
    pub(crate) mailbox: Sender<CoreMessage>,
    pub(crate) records: Arc<ArrayQueue<LogLine>>,
    pub(crate) driver: &'static str,
}

impl Plane {
    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }
}
