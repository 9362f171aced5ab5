//! What one core holds, and what all cores share.

use super::snapshot::Snapshot;
use crate::api::json::Scratch;
use crate::cache::entry::{Graveyard, HashSecret};
use crate::cache::{Semantic, Store};
use crate::embedding::Workshop;
use crate::listener::Drain;
use crate::telemetry::access::AccessRecord;
use crate::telemetry::metrics::CoreMetrics;
use crate::upstream::Pool;
use arc_swap::ArcSwap;
use crossbeam_queue::ArrayQueue;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

/// Access records that may wait for the control plane, per core.
pub const RECORDS_MAX: usize = 8192;

/// Shared by all cores and the control plane.
pub struct Shared {
    /// The configuration in force.
    pub snapshot: Arc<ArcSwap<Snapshot>>,
    /// The cache's store.
    pub store: Arc<Store>,
    /// The semantic tier; `None` when it is off.
    pub semantic: Option<Arc<Semantic>>,
    /// The embedding workshop; `None` when nothing needs it.
    pub workshop: Option<Workshop>,
    /// Vectors of lost entries.
    pub graveyard: Arc<Graveyard>,
    /// Secret of the cache's hashes.
    pub secret: HashSecret,
    /// Start, in seconds since the Unix epoch.
    pub started_at: u64,
}

/// One core's own.
pub struct Core {
    /// What all share.
    pub shared: Arc<Shared>,
    /// Idle upstream connections.
    pub pool: RefCell<Pool>,
    /// JSON parser memory.
    pub scratch: RefCell<Scratch>,
    /// Numbers.
    pub metrics: RefCell<CoreMetrics>,
    /// Access records on their way to the control plane.
    pub records: Arc<ArrayQueue<AccessRecord>>,
    /// Graceful stop.
    pub drain: Rc<Drain>,
    turn: Cell<usize>,
    snapshot: RefCell<HeldSnapshot>,
}

/// The configuration a core holds. The outer count is the core's own: requests that come and go do
/// not write the count that all cores share.
#[allow(clippy::redundant_allocation)]
struct HeldSnapshot {
    source: arc_swap::Cache<Arc<ArcSwap<Snapshot>>, Arc<Snapshot>>,
    current: Rc<Arc<Snapshot>>,
}

impl Core {
    /// A core's state.
    #[must_use]
    pub fn new(shared: Arc<Shared>, records: Arc<ArrayQueue<AccessRecord>>) -> Self {
        let mut source = arc_swap::Cache::new(Arc::clone(&shared.snapshot));
        let current = Rc::new(Arc::clone(source.load()));
        Self {
            shared,
            pool: RefCell::default(),
            scratch: RefCell::default(),
            metrics: RefCell::default(),
            records,
            drain: Rc::default(),
            turn: Cell::new(0),
            snapshot: RefCell::new(HeldSnapshot { source, current }),
        }
    }

    /// The configuration in force, without writing shared memory: one core's requests share one
    /// reference to it.
    #[must_use]
    #[allow(clippy::redundant_allocation)]
    pub fn snapshot(&self) -> Rc<Arc<Snapshot>> {
        let mut held = self.snapshot.borrow_mut();
        let HeldSnapshot { source, current } = &mut *held;
        let newest = source.load();
        if !Arc::ptr_eq(newest, current) {
            *current = Rc::new(Arc::clone(newest));
        }
        Rc::clone(current)
    }

    /// A number that goes up by one each time; for taking turns.
    pub fn next_turn(&self) -> usize {
        let turn = self.turn.get();
        self.turn.set(turn.wrapping_add(1));
        turn
    }
}
