//! The workshop's threads: one that loads the model, then the workers, each with its own session.
//!
//! A worker outlives whatever happens in a job. Must not know: who asks, or what for.

use crate::embedding::card::Files;
use crate::embedding::encoder::{Encoder, Words};
use crate::embedding::library;
use crate::embedding::pool::{EmbedError, Embedded, Settings, State};
use crate::embedding::table::StaticTable;
use crossbeam_channel::Receiver;
use parking_lot::{Mutex, RwLock};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Instant;

type Then = Box<dyn FnOnce(Result<Embedded, EmbedError>) + Send>;

/// What a worker is given.
pub(crate) enum Job {
    /// Embed a text.
    Embed {
        /// The text.
        text: String,
        /// When its outcome is of no more use.
        by: Option<Instant>,
        /// Whether unknown tokens are allowed.
        takes_unknown: bool,
        /// Gets the outcome.
        then: Then,
    },
    /// Something else.
    Run(Box<dyn FnOnce() + Send>),
}

impl Job {
    /// A text to embed.
    pub(crate) fn embed(
        text: String,
        by: Option<Instant>,
        takes_unknown: bool,
        then: impl FnOnce(Result<Embedded, EmbedError>) + Send + 'static,
    ) -> Self {
        Self::Embed {
            text,
            by,
            takes_unknown,
            then: Box::new(then),
        }
    }
}

/// What the threads tell the handles.
pub(crate) struct Status {
    /// Whether jobs are taken.
    pub ready: AtomicBool,
    /// Identity of the vectors made; 0 while not ready.
    pub embedder_id: AtomicU64,
    /// The state in words.
    pub state: Mutex<State>,
    /// The static table, once read.
    pub table: std::sync::OnceLock<Arc<StaticTable>>,
    /// Workers at work.
    pub workers: AtomicUsize,
    /// Most jobs that ever waited.
    pub queued_high_water: AtomicUsize,
    /// Texts embedded.
    pub embedded: AtomicU64,
    /// Texts refused for what they are.
    pub unfit: AtomicU64,
    /// Jobs taken after their deadline.
    pub late: AtomicU64,
    /// Jobs that failed or panicked.
    pub failed: AtomicU64,
    /// Jobs refused because the queue was full.
    pub refused: AtomicU64,
    /// Held for reading by each thread that is within the runtime's library.
    pub library: RwLock<()>,
}

impl Default for Status {
    fn default() -> Self {
        Self {
            ready: AtomicBool::new(false),
            embedder_id: AtomicU64::new(0),
            state: Mutex::new(State::Loading),
            table: std::sync::OnceLock::new(),
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

/// Loads the model on a thread, then turns to `receiver` with as many workers as asked for.
pub(crate) fn spawn_loader(settings: Settings, receiver: Receiver<Job>, status: Arc<Status>) {
    let told = Arc::clone(&status);
    let spawned = std::thread::Builder::new()
        .name("embed-load".to_owned())
        .spawn(move || {
            let loaded = catch_unwind(AssertUnwindSafe(|| load(&settings, &receiver, &status)));
            let failure = match loaded {
                Ok(Ok(())) => return,
                Ok(Err(why)) => why,
                Err(panic) => format!("the model could not be loaded: {}", said(&*panic)),
            };
            *status.state.lock() = State::Failed(failure);
        });
    if let Err(error) = spawned {
        *told.state.lock() = State::Failed(format!("no thread to load the model on: {error}"));
    }
}

fn load(settings: &Settings, receiver: &Receiver<Job>, status: &Arc<Status>) -> Result<(), String> {
    let _inside = status.library.read();
    let start = Instant::now();
    let files = Files::read(&settings.model_dir)?;
    let environment = library::open(settings.runtime_library.as_deref(), &settings.model_dir)?;
    let tokenizer = Arc::new(Words::read(&files.tokenizer)?);
    let table = StaticTable::read(&files.table, &files.tokenizer)?;
    // All before the first worker starts: a model that does not load leaves no thread behind.
    let encoders = (0..settings.threads.max(1))
        .map(|_| Encoder::new(&environment, &files, Arc::clone(&tokenizer)))
        .collect::<Result<Vec<_>, _>>()?;
    let Files { card, model, .. } = files;
    drop(model);
    for (number, encoder) in encoders.into_iter().enumerate() {
        let (receiver, status_there) = (receiver.clone(), Arc::clone(status));
        let spawned = std::thread::Builder::new()
            .name(format!("embed-{number}"))
            .spawn(move || work(encoder, &receiver, &status_there));
        match spawned {
            Ok(_) => status.workers.fetch_add(1, Ordering::Relaxed),
            // The others do the work; without any, the workshop is of no use.
            Err(_) if number > 0 => break,
            Err(error) => return Err(format!("no thread to embed on: {error}")),
        };
    }
    let load_ms = u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX);
    status
        .embedder_id
        .store(card.embedder_id(), Ordering::Relaxed);
    let _ = status.table.set(Arc::new(table));
    let model = card.name;
    // First, so that whoever reads `Ready` finds jobs taken.
    status.ready.store(true, Ordering::Release);
    *status.state.lock() = State::Ready { model, load_ms };
    Ok(())
}

fn work(mut encoder: Encoder, receiver: &Receiver<Job>, status: &Status) {
    // Ends when the last handle is gone.
    while let Ok(job) = receiver.recv() {
        match job {
            Job::Run(work) => guard(status, work),
            Job::Embed {
                text,
                by,
                takes_unknown,
                then,
            } => {
                let outcome = if by.is_some_and(|by| Instant::now() > by) {
                    Err(EmbedError::Deadline)
                } else {
                    let _inside = status.library.read();
                    embed(&mut encoder, &text, takes_unknown)
                };
                count(status, &outcome);
                guard(status, || then(outcome));
            }
        }
    }
}

fn embed(encoder: &mut Encoder, text: &str, takes_unknown: bool) -> Result<Embedded, EmbedError> {
    catch_unwind(AssertUnwindSafe(|| encoder.embed(text, takes_unknown)))
        .unwrap_or_else(|panic| Err(EmbedError::Model(said(&*panic))))
}

fn guard(status: &Status, work: impl FnOnce()) {
    if catch_unwind(AssertUnwindSafe(work)).is_err() {
        status.failed.fetch_add(1, Ordering::Relaxed);
    }
}

fn count(status: &Status, outcome: &Result<Embedded, EmbedError>) {
    let counter = match outcome {
        Ok(_) => &status.embedded,
        Err(EmbedError::Deadline) => &status.late,
        Err(EmbedError::Model(_)) => &status.failed,
        Err(_) => &status.unfit,
    };
    counter.fetch_add(1, Ordering::Relaxed);
}

/// What a panic said.
fn said(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic".to_owned())
}
