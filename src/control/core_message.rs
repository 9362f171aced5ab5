//! Messages to a core.

use crate::observability::metrics::arms::ArmMetrics;
use crate::observability::metrics::core_metrics::CoreMetrics;
use crate::observability::metrics::group::GroupBy;
use crate::routing::indices::TargetSlot;
use crate::routing::shared_health::PeerObservation;
use crate::routing::targets::TargetTable;
use crate::server::acceptor::Accepted;
use futures_channel::oneshot;
use std::sync::Arc;
use std::time::Instant;

/// What the control plane and the acceptors send to a core.
pub(crate) enum CoreMessage {
    /// Serve this connection.
    Connection(Accepted),
    /// Reply with a copy of the metrics.
    Metrics(oneshot::Sender<Box<CoreMetrics>>),
    /// Reply with a copy of the metrics of experiments' arms.
    Arms(oneshot::Sender<GroupBy<ArmMetrics>>),
    /// Reply with a copy of the target table.
    TargetTable(oneshot::Sender<TargetTableCopy>),
    /// Reply with the health of targets as this core observed it.
    Health(oneshot::Sender<Vec<PeerObservation>>),
    /// Forget failures and cooldowns of these targets.
    ResetTargets {
        slots: Arc<[TargetSlot]>,
        done: oneshot::Sender<()>,
    },
    /// Stop gracefully until `by`, then at once.
    Drain {
        /// When busy connections are ended.
        by: Instant,
        /// Notified when the core has ended.
        ended: oneshot::Sender<()>,
    },
}

/// A core's target table at one moment.
pub(crate) struct TargetTableCopy {
    pub(crate) table: Box<TargetTable>,
    /// The core's time, in microseconds since it began.
    pub(crate) now_us: u64,
}
