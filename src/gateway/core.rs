//! The state of one core, and the state that all cores share.

use crate::cache::coalesce::shared_calls::SharedCalls;
use crate::cache::key::HashSecret;
use crate::cache::pending_removals::PendingRemovals;
use crate::cache::semantic::tier::SemanticTier;
use crate::cache::store::Store;
use crate::embedding::pool::EmbeddingPool;
use crate::gateway::snapshot::snapshot::Snapshot;
use crate::observability::log_line::LogLine;
use crate::observability::metrics::core_metrics::CoreMetrics;
use crate::observability::rateable_requests::RateableRequests;
use crate::protocols::json::document::Scratch;
use crate::routing::hedge::Hedges;
use crate::routing::shared_health::SharedHealth;
use crate::routing::targets::TargetTable;
use crate::runtime::clock;
use crate::server::body_memory::{BodyMemory, BodyMemoryLimits};
use crate::server::drain::Drain;
use crate::upstream::pool::ConnectionPool;
use crate::upstream::response_memory::ResponseMemory;
use arc_swap::ArcSwap;
use crossbeam_queue::ArrayQueue;
use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Access records of one core that may wait for the control plane.
pub(crate) const RECORDS_MAX: usize = 8192;

/// Shared by all cores and the control plane.
pub struct Shared {
    pub snapshot: Arc<ArcSwap<Snapshot>>,
    pub store: Arc<Store>,
    /// Calls in flight that identical requests share.
    pub shared_calls: Arc<SharedCalls>,
    /// `None` when the semantic cache is off.
    pub semantic: Option<Arc<SemanticTier>>,
    /// `None` when the configuration at the start needs no local embedding model.
    pub embedding_pool: Option<EmbeddingPool>,
    /// Entries that left the store and have to be removed from the semantic index.
    pub pending_removals: Arc<PendingRemovals>,
    /// Secret of the hashes that are cache keys.
    pub secret: HashSecret,
    /// The health of targets over all cores, as the control plane last gathered it.
    pub shared_health: Arc<ArcSwap<SharedHealth>>,
    /// Requests that clients may rate.
    pub ratings: RateableRequests,
    /// Start, in seconds since the Unix epoch.
    pub started_at: u64,
}

/// State that only one core uses.
pub(crate) struct Core {
    pub shared: Arc<Shared>,
    /// Idle upstream connections.
    pub pool: RefCell<ConnectionPool>,
    /// Memory of the JSON parser, reused by every request.
    pub scratch: RefCell<Scratch>,
    pub metrics: RefCell<CoreMetrics>,
    /// Access records for the control plane to write.
    pub records: Arc<ArrayQueue<LogLine>>,
    pub drain: Rc<Drain>,
    /// The memory that whole responses of providers take.
    pub response_memory: Rc<ResponseMemory>,
    /// The memory that request bodies take.
    pub body_memory: Rc<BodyMemory>,
    /// Health and latencies of targets as this core sees them.
    pub target_table: Rc<RefCell<TargetTable>>,
    /// Streams that are read to their end although their client has gone.
    pub unattended: Cell<usize>,
    /// Tail latencies of hedged models, and their budgets.
    pub hedges: RefCell<Hedges>,
    shared_health: RefCell<arc_swap::Cache<Arc<ArcSwap<SharedHealth>>, Arc<SharedHealth>>>,
    started_at: Instant,
    snapshot: RefCell<HeldSnapshot>,
}

/// A configuration, held for the time of a request. The outer `Rc` counts the requests of one core, so that they do not
/// write the `Arc`'s count, which all cores share.
#[allow(
    clippy::redundant_allocation,
    reason = "the two counts are for one core and for all cores"
)]
pub(crate) type CurrentSnapshot = Rc<Arc<Snapshot>>;

struct HeldSnapshot {
    source: arc_swap::Cache<Arc<ArcSwap<Snapshot>>, Arc<Snapshot>>,
    current: CurrentSnapshot,
}

impl Core {
    #[must_use]
    pub(crate) fn new(
        shared: Arc<Shared>,
        records: Arc<ArrayQueue<LogLine>>,
        body_memory_limits: BodyMemoryLimits,
        response_bytes_max: usize,
    ) -> Self {
        let mut source = arc_swap::Cache::new(Arc::clone(&shared.snapshot));
        let current = Rc::new(Arc::clone(source.load()));
        let shared_health = arc_swap::Cache::new(Arc::clone(&shared.shared_health));
        Self {
            shared,
            shared_health: RefCell::new(shared_health),
            pool: RefCell::default(),
            scratch: RefCell::default(),
            metrics: RefCell::default(),
            records,
            drain: Rc::default(),
            response_memory: Rc::new(ResponseMemory::new(response_bytes_max)),
            body_memory: Rc::new(BodyMemory::new(body_memory_limits)),
            target_table: Rc::default(),
            unattended: Cell::default(),
            hedges: RefCell::default(),
            started_at: clock::now(),
            snapshot: RefCell::new(HeldSnapshot { source, current }),
        }
    }

    /// The configuration in force, without writing memory that cores share.
    #[must_use]
    pub(crate) fn snapshot(&self) -> CurrentSnapshot {
        let mut held = self.snapshot.borrow_mut();
        let HeldSnapshot { source, current } = &mut *held;
        let newest = source.load();
        if !Arc::ptr_eq(newest, current) {
            *current = Rc::new(Arc::clone(newest));
        }
        Rc::clone(current)
    }

    /// Merges the health of targets as other cores see it, if there is a newer version.
    pub(crate) fn merge_shared_health(&self) {
        let mut shared_health = self.shared_health.borrow_mut();
        let newest = shared_health.load();
        let mut target_table = self.target_table.borrow_mut();
        if newest.number != target_table.shared_health_number() {
            target_table.merge_shared_health(newest, self.now_us());
        }
    }

    /// Writes the state of the configured targets, as this core sees them, into gauges.
    pub(crate) fn record_targets(&self, metrics: &mut CoreMetrics) {
        let (target_table, now_us) = (self.target_table.borrow(), self.now_us());
        // Models may share a target, which is counted once.
        let mut seen = HashSet::new();
        for route in self.snapshot().models.values() {
            let admission = &route.failover.admission;
            if admission.enabled {
                let (length, max) = (target_table.queue_length(route.index), admission.queue_max);
                let queue = &mut metrics.admission;
                queue.queue.add(route.name, length as u64);
                queue.queue_max.add(route.name, max as u64);
            }
            for (target, target_ref) in route.targets.iter().zip(&route.target_refs) {
                let Some(summary) = target_table.summary(target_ref.slot, now_us) else {
                    continue;
                };
                if !seen.insert(target_ref.slot) {
                    continue;
                }
                if let Some(limit) = target_table.limit(target_ref.slot) {
                    metrics
                        .admission
                        .target_limit
                        .add(target.label, u64::from(limit));
                }
                let gauges = &mut metrics.targets;
                let score = f64::from(summary.score);
                gauges.health.record(target.label, score);
                let in_flight = u64::from(summary.in_flight);
                gauges.in_flight.add(target.label, in_flight);
                gauges.phase_cores.add((target.label, summary.phase), 1);
            }
        }
    }

    /// Open client connections. The drain also counts the streams whose client has gone.
    #[must_use]
    pub(crate) fn connections(&self) -> usize {
        let counted = self.drain.connections();
        counted.saturating_sub(self.unattended.get())
    }

    /// Routing's time: microseconds since the start of this core, at the last reading of the clock.
    #[must_use]
    pub(crate) fn now_us(&self) -> u64 {
        micros(clock::recent().saturating_duration_since(self.started_at))
    }
}

#[must_use]
pub(crate) fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
