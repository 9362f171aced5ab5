//! State and counters that the pool's threads write and its handles read.
//!
//! It must not know jobs, or what they are for.

use crate::embedding::table::StaticTable;
use parking_lot::{Mutex, RwLock};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize};
use std::sync::{Arc, OnceLock};

/// Whether the model is loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ModelState {
    /// The model's files are being read.
    Loading,
    /// Texts are embedded.
    Ready {
        /// The model's name.
        model: String,
        /// Milliseconds that loading took.
        load_ms: u64,
    },
    /// The model cannot be loaded. The text says what is missing or wrong, and the remedy.
    Failed(String),
}

/// Queue, workers and counters of the pool, for metrics.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PoolStats {
    /// Jobs that wait now.
    pub queued: usize,
    /// Most jobs that ever waited.
    pub queued_high_water: usize,
    /// Most jobs that may wait.
    pub queue_max: usize,
    /// Worker threads; 0 while the model is not ready.
    pub workers: usize,
    /// Texts embedded.
    pub embedded: u64,
    /// Texts that the model cannot embed: empty, over the window, unknown words.
    pub unfit: u64,
    /// Jobs whose deadline passed in the queue.
    pub late: u64,
    /// Jobs that failed or panicked.
    pub failed: u64,
    /// Jobs refused because the queue was full.
    pub refused: u64,
}

/// Written by the pool's threads, read by its handles.
pub(crate) struct PoolStatus {
    /// Whether jobs are taken.
    pub ready: AtomicBool,
    /// Identity of the vectors made; 0 while not ready.
    pub embedder_id: AtomicU64,
    pub model: Mutex<ModelState>,
    /// The static table, once read.
    pub table: OnceLock<Arc<StaticTable>>,
    pub workers: AtomicUsize,
    pub queued_high_water: AtomicUsize,
    pub embedded: AtomicU64,
    pub unfit: AtomicU64,
    pub late: AtomicU64,
    pub failed: AtomicU64,
    pub refused: AtomicU64,
    /// Each thread that runs code of the ONNX Runtime library holds a read guard.
    pub library: RwLock<()>,
}

impl Default for PoolStatus {
    fn default() -> Self {
        Self {
            ready: AtomicBool::new(false),
            embedder_id: AtomicU64::new(0),
            model: Mutex::new(ModelState::Loading),
            table: OnceLock::new(),
            workers: AtomicUsize::new(0),
            queued_high_water: AtomicUsize::new(0),
            embedded: AtomicU64::new(0),
            unfit: AtomicU64::new(0),
            late: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            library: RwLock::new(()),
        }
    }
}
