//! The embedding pool: turns texts into vectors on its own threads, off the data plane.
//!
//! This file holds the handle that the rest of the gateway uses. A text goes into a bounded queue, a worker
//! calls back with the result, and no caller waits for room. When the model cannot be loaded, the pool says
//! why and rejects every job; the gateway serves requests without it.
//!
//! It must not know requests, caches, scopes, or what a vector is compared for.

use crate::embedding::embed_result::{EmbedError, EmbedRejection, Embedded};
use crate::embedding::settings::Settings;
use crate::embedding::status::{ModelState, PoolStats, PoolStatus};
use crate::embedding::table::StaticTable;
use crate::embedding::worker;
use crate::embedding::worker::Job;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How long the end of the process waits for a model that is being read, or a text that is being embedded.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// A handle on the embedding pool: cheap to clone. The threads end when the last handle is dropped and the
/// queue is empty.
#[derive(Clone)]
pub struct EmbeddingPool {
    inner: Arc<Inner>,
}

struct Inner {
    sender: crossbeam_channel::Sender<Job>,
    queue_max: usize,
    status: Arc<PoolStatus>,
}

impl EmbeddingPool {
    /// Starts the pool and returns at once; the model is loaded on a thread of its own.
    #[must_use]
    pub fn start(settings: Settings) -> Self {
        let queue_max = settings.queue_max.max(1);
        let (sender, receiver) = crossbeam_channel::bounded(queue_max);
        let status = Arc::new(PoolStatus::default());
        worker::spawn_loader(settings, receiver, Arc::clone(&status));
        Self {
            inner: Arc::new(Inner {
                sender,
                queue_max,
                status,
            }),
        }
    }

    /// Waits until no thread runs code of the ONNX Runtime library, and lets none in again: a process that
    /// ends meanwhile unloads what those threads use, and crashes. Gives up after [`CLOSE_TIMEOUT`].
    pub fn close(&self) {
        let guard = self.inner.status.library.try_write_for(CLOSE_TIMEOUT);
        // Never released: a thread that enters the library now waits for the end of the process.
        std::mem::forget(guard);
    }

    /// Whether the model is loaded, loading, or why it cannot be loaded.
    #[must_use]
    pub fn model_state(&self) -> ModelState {
        self.inner.status.model.lock().clone()
    }

    /// Whether jobs are taken. One relaxed load: for the request path.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.inner.status.ready.load(Ordering::Relaxed)
    }

    /// Identity of what makes the vectors: model, weights, tokenizer and quantisation. Vectors of
    /// different identities must not be compared. 0 while the model is not ready.
    #[must_use]
    pub fn embedder_id(&self) -> u64 {
        self.inner.status.embedder_id.load(Ordering::Relaxed)
    }

    /// The static table; `None` while the model is not ready.
    #[must_use]
    pub fn table(&self) -> Option<&Arc<StaticTable>> {
        self.inner.status.table.get()
    }

    /// Queues `text`; `then` gets the result on a worker's thread and should be short. A job that a worker
    /// takes after `deadline` ends with [`EmbedError::Deadline`] at once.
    ///
    /// # Errors
    /// The queue is full or the model is not ready; `then` is dropped.
    pub fn embed(
        &self,
        text: String,
        deadline: Option<Instant>,
        then: impl FnOnce(Result<Embedded, EmbedError>) + Send + 'static,
    ) -> Result<(), EmbedRejection> {
        self.push(Job::embed(text, deadline, false, then))
    }

    /// As [`EmbeddingPool::embed`], but accepts texts with unknown tokens: for callers that want a vector of
    /// the text and accept that another text may have the same one.
    ///
    /// # Errors
    /// As [`EmbeddingPool::embed`].
    pub fn embed_any(
        &self,
        text: String,
        deadline: Option<Instant>,
        then: impl FnOnce(Result<Embedded, EmbedError>) + Send + 'static,
    ) -> Result<(), EmbedRejection> {
        self.push(Job::embed(text, deadline, true, then))
    }

    /// Queues other work that belongs off the data plane, such as an insertion into an index.
    ///
    /// # Errors
    /// The queue is full or the model is not ready; `work` is dropped.
    pub fn run(&self, work: impl FnOnce() + Send + 'static) -> Result<(), EmbedRejection> {
        self.push(Job::Run(Box::new(work)))
    }

    /// Queue, workers and counters, for metrics.
    #[must_use]
    pub fn stats(&self) -> PoolStats {
        let status = &self.inner.status;
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        PoolStats {
            queued: self.inner.sender.len(),
            queued_high_water: status.queued_high_water.load(Ordering::Relaxed),
            queue_max: self.inner.queue_max,
            workers: status.workers.load(Ordering::Relaxed),
            embedded: count(&status.embedded),
            unfit: count(&status.unfit),
            late: count(&status.late),
            failed: count(&status.failed),
            refused: count(&status.refused),
        }
    }

    fn push(&self, job: Job) -> Result<(), EmbedRejection> {
        if !self.is_ready() {
            return Err(EmbedRejection::NotReady);
        }
        let status = &self.inner.status;
        if self.inner.sender.try_send(job).is_err() {
            status.refused.fetch_add(1, Ordering::Relaxed);
            return Err(EmbedRejection::QueueFull);
        }
        let queued = self.inner.sender.len();
        status
            .queued_high_water
            .fetch_max(queued, Ordering::Relaxed);
        Ok(())
    }
}
