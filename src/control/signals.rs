//! The signals that the process obeys. Their handlers are installed before anything slow; a signal that arrives before
//! somebody waits for it is kept.

use tokio::signal::unix::{Signal, SignalKind, signal};

/// The signals.
pub(crate) struct Signals {
    pub(crate) stop: StopSignals,
    /// Asks for a reload.
    pub(crate) hang_up: Signal,
}

/// The signals that stop the process.
pub(crate) struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
}

/// How to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StopKind {
    /// Load balancers get time to notice.
    Announced,
    /// A person at a terminal does not wait for load balancers.
    Unannounced,
}

impl Signals {
    /// Installs the handlers. It must be called in the context of the runtime.
    ///
    /// # Errors
    /// The kernel's error.
    pub(crate) fn install() -> std::io::Result<Self> {
        Ok(Self {
            stop: StopSignals {
                terminate: signal(SignalKind::terminate())?,
                interrupt: signal(SignalKind::interrupt())?,
            },
            hang_up: signal(SignalKind::hangup())?,
        })
    }
}

impl StopSignals {
    /// Waits for the next signal that stops the process.
    pub(crate) async fn next(&mut self) -> StopKind {
        tokio::select! {
            _ = self.terminate.recv() => StopKind::Announced,
            _ = self.interrupt.recv() => StopKind::Unannounced,
        }
    }
}
