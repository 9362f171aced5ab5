//! What one core holds, and what all cores share.

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
use crate::server::drain::Drain;
use crate::upstream::pool::ConnectionPool;
use arc_swap::ArcSwap;
use crossbeam_queue::ArrayQueue;
use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Access records that may wait for the control plane, per core.
pub(crate) const RECORDS_MAX: usize = 8192;

/// Shared by all cores and the control plane.
pub struct Shared {
    /// The configuration in force.
    pub snapshot: Arc<ArcSwap<Snapshot>>,
    /// The cache's store.
    pub store: Arc<Store>,
    /// Calls in flight that identical requests share.
    pub shared_calls: Arc<SharedCalls>,
    /// The semantic tier; `None` when it is off.
    pub semantic: Option<Arc<SemanticTier>>,
    /// The embedding workshop; `None` when nothing needs it.
    pub embedding_pool: Option<EmbeddingPool>,
    /// Vectors of lost entries.
    pub pending_removals: Arc<PendingRemovals>,
    /// Secret of the cache's hashes.
    pub secret: HashSecret,
    /// What the cores know of targets together, as the control plane put it together last.
    pub view: Arc<ArcSwap<SharedHealth>>,
    /// Requests that may be rated.
    pub ratings: RateableRequests,
    /// Start, in seconds since the Unix epoch.
    pub started_at: u64,
}

/// One core's own.
pub(crate) struct Core {
    /// What all share.
    pub shared: Arc<Shared>,
    /// Idle upstream connections.
    pub pool: RefCell<ConnectionPool>,
    /// JSON parser memory.
    pub scratch: RefCell<Scratch>,
    /// Numbers.
    pub metrics: RefCell<CoreMetrics>,
    /// Access records on their way to the control plane.
    pub records: Arc<ArrayQueue<LogLine>>,
    /// Graceful stop.
    pub drain: Rc<Drain>,
    /// Health and latencies of targets, as this core sees them.
    pub target_table: Rc<RefCell<TargetTable>>,
    /// Streams that go on without the connection that began them.
    pub unattended: Cell<usize>,
    /// Tails of the targets of models that are hedged, and what may be spent.
    pub hedges: RefCell<Hedges>,
    view: RefCell<arc_swap::Cache<Arc<ArcSwap<SharedHealth>>, Arc<SharedHealth>>>,
    born_at: Instant,
    snapshot: RefCell<HeldSnapshot>,
}

/// A configuration, held for the time of a request.
#[allow(clippy::redundant_allocation)]
pub(crate) type CurrentSnapshot = Rc<Arc<Snapshot>>;

/// The configuration a core holds. The outer count is the core's own: requests that come and go do
/// not write the count that all cores share.
struct HeldSnapshot {
    source: arc_swap::Cache<Arc<ArcSwap<Snapshot>>, Arc<Snapshot>>,
    current: CurrentSnapshot,
}

impl Core {
    /// A core's state.
    #[must_use]
    pub(crate) fn new(shared: Arc<Shared>, records: Arc<ArrayQueue<LogLine>>) -> Self {
        let mut source = arc_swap::Cache::new(Arc::clone(&shared.snapshot));
        let current = Rc::new(Arc::clone(source.load()));
        let view = arc_swap::Cache::new(Arc::clone(&shared.view));
        Self {
            shared,
            view: RefCell::new(view),
            pool: RefCell::default(),
            scratch: RefCell::default(),
            metrics: RefCell::default(),
            records,
            drain: Rc::default(),
            target_table: Rc::default(),
            unattended: Cell::default(),
            hedges: RefCell::default(),
            born_at: clock::now(),
            snapshot: RefCell::new(HeldSnapshot { source, current }),
        }
    }

    /// The configuration in force, without writing shared memory: one core's requests share one
    /// reference to it.
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

    /// Takes in what the other cores know of targets, if that is news.
    pub(crate) fn hear(&self) {
        let mut view = self.view.borrow_mut();
        let newest = view.load();
        let mut target_table = self.target_table.borrow_mut();
        if newest.number != target_table.shared_health_number() {
            target_table.merge_shared_health(newest, self.now_us());
        }
    }

    /// Fills in how this core sees the targets that are configured.
    pub(crate) fn look_at_targets(&self, metrics: &mut CoreMetrics) {
        let (target_table, now_us) = (self.target_table.borrow(), self.now_us());
        // Models may share a target; it counts once.
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
                let Some((phase, score, in_flight)) = target_table.look(target_ref.slot, now_us)
                else {
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
                gauges.health.record(target.label, f64::from(score));
                gauges.in_flight.add(target.label, u64::from(in_flight));
                gauges.phase_cores.add((target.label, phase.name()), 1);
            }
        }
    }

    /// Client connections open. A stream without its connection also has a place in the drain.
    #[must_use]
    pub(crate) fn connections(&self) -> usize {
        let places = self.drain.connections();
        places.saturating_sub(self.unattended.get())
    }

    /// Microseconds since this core began, as of what it last read from the clock: routing's time.
    #[must_use]
    pub(crate) fn now_us(&self) -> u64 {
        micros(clock::recent().saturating_duration_since(self.born_at))
    }
}

/// `time` in whole microseconds.
#[must_use]
pub(crate) fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
