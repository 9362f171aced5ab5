//! The embedding workshop: turns texts into vectors, off the data plane, on its own threads.
//!
//! Holds the handle that the rest of the gateway uses. A text goes into a bounded queue, a worker
//! answers through a callback, and nothing ever waits for room. When the model cannot be loaded the
//! workshop says why and refuses everything; the gateway goes on without it.
//!
//! Must not know: requests, caches, scopes, or what a vector is compared for.

use crate::embedding::table;
use crate::embedding::worker;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// Components of a vector.
pub const DIMENSIONS: usize = 384;

/// Most tokens that the model reads at once, `[CLS]` and `[SEP]` included.
pub const WINDOW_TOKENS: usize = 256;

/// Longest text that is tokenised, in bytes. One of this size takes 24 ms, about as long as embedding a
/// full window, and is far beyond the window unless it is mostly blank.
pub const TEXT_BYTES_MAX: usize = 64 * 1024;

/// How long the end of the process waits for a model that is being read, or a text that is being embedded.
const CLOSE_WITHIN: Duration = Duration::from_secs(5);

/// An embedding: [`DIMENSIONS`] components, L2-normalised, so that a dot product is a cosine.
pub type Vector = Arc<[f32]>;

/// What the workshop is started with.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Folder with `model.json`, `model.onnx` and `tokenizer.json`.
    pub model_dir: PathBuf,
    /// Worker threads, each with its own copy of the weights; 0 counts as 1.
    pub threads: usize,
    /// Most jobs that wait; 0 counts as 1.
    pub queue_max: usize,
    /// The ONNX Runtime library. `None` looks at `$ORT_DYLIB_PATH`, beside the executable, and in
    /// `models/runtime/` under the working folder and beside `model_dir`.
    pub runtime_library: Option<PathBuf>,
}

/// Whether the workshop can work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// The model is being read.
    Loading,
    /// At work.
    Ready {
        /// The model's name.
        model: String,
        /// Milliseconds from the start to being ready.
        load_ms: u64,
    },
    /// It will not become ready; the text says what is missing or wrong, and the remedy.
    Failed(String),
}

/// A text's embedding.
#[derive(Debug, Clone)]
pub struct Embedded {
    /// The vector.
    pub vector: Vector,
    /// Tokens read, `[CLS]` and `[SEP]` included.
    pub tokens: usize,
}

/// Why a text has no embedding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EmbedError {
    /// The text has no token.
    Empty,
    /// The text is longer than the model reads; it is never cut.
    OverWindow {
        /// The text's tokens. Not counted, but estimated at one per four bytes, for a text over
        /// [`TEXT_BYTES_MAX`].
        tokens: usize,
    },
    /// The text has a character or word that the model's vocabulary cannot spell (an emoji, a rare
    /// script, a word of over 100 letters). To the model all of these are the same `[UNK]`, so two
    /// different texts could have one vector.
    UnknownToken,
    /// The deadline had passed when a worker took the job.
    Deadline,
    /// The model or the tokenizer failed; not the text's fault.
    Model(String),
}

impl std::fmt::Display for EmbedError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Empty => write!(f, "the text is empty"),
            Self::OverWindow { tokens } => {
                write!(
                    f,
                    "the text has {tokens} tokens, the model reads {WINDOW_TOKENS}"
                )
            }
            Self::UnknownToken => write!(f, "the text has a word outside the model's vocabulary"),
            Self::Deadline => write!(f, "the deadline passed in the queue"),
            Self::Model(why) => write!(f, "the embedding model failed: {why}"),
        }
    }
}

impl std::error::Error for EmbedError {}

/// Why a job was not taken. Its callback is dropped without being called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EmbedRejection {
    /// As many jobs wait as may.
    QueueFull,
    /// The model is not loaded: yet, or at all.
    NotReady,
}

impl EmbedRejection {
    /// In a word, for headers and labels.
    #[must_use]
    pub fn rule(self) -> &'static str {
        match self {
            Self::QueueFull => "queue-full",
            Self::NotReady => "model-not-ready",
        }
    }
}

/// What the workshop is doing, for metrics.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Gauges {
    /// Jobs that wait.
    pub queued: usize,
    /// Most jobs that ever waited.
    pub queued_high_water: usize,
    /// Most jobs that may wait.
    pub queue_max: usize,
    /// Worker threads; 0 while the model is not ready.
    pub workers: usize,
    /// Texts embedded.
    pub embedded: u64,
    /// Texts refused for what they are: empty, over the window, unknown words.
    pub unfit: u64,
    /// Jobs whose deadline passed in the queue.
    pub late: u64,
    /// Jobs that failed or panicked.
    pub failed: u64,
    /// Jobs refused because the queue was full.
    pub refused: u64,
}

/// A handle on the workshop: cheap to clone. The threads end when the last handle is gone and the
/// queue is empty.
#[derive(Clone)]
pub struct EmbeddingPool {
    inner: Arc<Inner>,
}

struct Inner {
    sender: crossbeam_channel::Sender<worker::Job>,
    queue_max: usize,
    status: Arc<worker::Status>,
}

impl EmbeddingPool {
    /// Starts the workshop and returns at once; the model is loaded on a thread of its own.
    #[must_use]
    pub fn start(settings: Settings) -> Self {
        let queue_max = settings.queue_max.max(1);
        let (sender, receiver) = crossbeam_channel::bounded(queue_max);
        let status = Arc::new(worker::Status::default());
        worker::spawn_loader(settings, receiver, Arc::clone(&status));
        Self {
            inner: Arc::new(Inner {
                sender,
                queue_max,
                status,
            }),
        }
    }

    /// Waits until no thread is within the runtime's library, and lets none in again: a process that ends
    /// meanwhile would take down what those threads use, and crash. Gives up after [`CLOSE_WITHIN`].
    pub fn close(&self) {
        let alone = self.inner.status.library.try_write_for(CLOSE_WITHIN);
        // Never given back: a thread that wants in waits for the end of the process.
        std::mem::forget(alone);
    }

    /// Whether the model is loaded, being loaded, or why it cannot be.
    #[must_use]
    pub fn state(&self) -> State {
        self.inner.status.state.lock().clone()
    }

    /// Whether texts are taken. One relaxed load: for the request path.
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
    pub fn table(&self) -> Option<&Arc<table::StaticTable>> {
        self.inner.status.table.get()
    }

    /// Queues `text`; `then` gets the outcome on a worker's thread and should be short. A job that is
    /// taken after `by` is answered with [`EmbedError::Deadline`] at once.
    ///
    /// # Errors
    /// The queue is full or the model is not ready; `then` is dropped.
    pub fn embed(
        &self,
        text: String,
        by: Option<Instant>,
        then: impl FnOnce(Result<Embedded, EmbedError>) + Send + 'static,
    ) -> Result<(), EmbedRejection> {
        self.push(worker::Job::embed(text, by, false, then))
    }

    /// As [`Workshop::embed`], but takes texts with unknown tokens: for callers who want a vector of
    /// the text, not a promise that no other text has the same one.
    ///
    /// # Errors
    /// As [`Workshop::embed`].
    pub fn embed_any(
        &self,
        text: String,
        by: Option<Instant>,
        then: impl FnOnce(Result<Embedded, EmbedError>) + Send + 'static,
    ) -> Result<(), EmbedRejection> {
        self.push(worker::Job::embed(text, by, true, then))
    }

    /// Queues other work that belongs off the data plane, such as an insertion into an index.
    ///
    /// # Errors
    /// The queue is full or the model is not ready; `work` is dropped.
    pub fn run(&self, work: impl FnOnce() + Send + 'static) -> Result<(), EmbedRejection> {
        self.push(worker::Job::Run(Box::new(work)))
    }

    /// What the workshop is doing.
    #[must_use]
    pub fn gauges(&self) -> Gauges {
        let (status, count) = (
            &self.inner.status,
            |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed),
        );
        Gauges {
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

    fn push(&self, job: worker::Job) -> Result<(), EmbedRejection> {
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
