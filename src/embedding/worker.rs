//! The pool's threads: one that loads the model, then the workers, each with its own session.
//!
//! A panic in a job does not end its worker. It must not know who sends a job, or what for.

use crate::embedding::card::ModelFiles;
use crate::embedding::embed_result::{EmbedError, Embedded};
use crate::embedding::encoder::{Encoder, ModelTokenizer};
use crate::embedding::library;
use crate::embedding::settings::Settings;
use crate::embedding::status::{ModelState, PoolStatus};
use crate::embedding::table::StaticTable;
use crossbeam_channel::Receiver;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

type EmbedCallback = Box<dyn FnOnce(Result<Embedded, EmbedError>) + Send>;

/// One job of a worker.
pub(crate) enum Job {
    Embed {
        text: String,
        /// After this time the caller no longer waits for the result.
        deadline: Option<Instant>,
        allows_unknown: bool,
        then: EmbedCallback,
    },
    Run(Box<dyn FnOnce() + Send>),
}

impl Job {
    pub(crate) fn embed(
        text: String,
        deadline: Option<Instant>,
        allows_unknown: bool,
        then: impl FnOnce(Result<Embedded, EmbedError>) + Send + 'static,
    ) -> Self {
        Self::Embed {
            text,
            deadline,
            allows_unknown,
            then: Box::new(then),
        }
    }
}

/// Starts a thread that loads the model and then starts the workers that read from `receiver`.
pub(crate) fn spawn_loader(settings: Settings, receiver: Receiver<Job>, status: Arc<PoolStatus>) {
    let loader_status = Arc::clone(&status);
    let spawned = std::thread::Builder::new()
        .name("embed-load".to_owned())
        .spawn(move || {
            let status = loader_status;
            let loaded = catch_unwind(AssertUnwindSafe(|| load(&settings, &receiver, &status)));
            let failure = match loaded {
                Ok(Ok(())) => return,
                Ok(Err(reason)) => reason,
                Err(panic) => {
                    format!("the model could not be loaded: {}", panic_message(&*panic))
                }
            };
            *status.model.lock() = ModelState::Failed(failure);
        });
    if let Err(error) = spawned {
        let failure = format!("no thread to load the model on: {error}");
        *status.model.lock() = ModelState::Failed(failure);
    }
}

fn load(
    settings: &Settings,
    receiver: &Receiver<Job>,
    status: &Arc<PoolStatus>,
) -> Result<(), String> {
    let _in_library = status.library.read();
    let started_at = Instant::now();
    let files = ModelFiles::read(&settings.model_dir)?;
    let environment = library::open(settings.runtime_library.as_deref(), &settings.model_dir)?;
    let tokenizer = Arc::new(ModelTokenizer::read(&files.tokenizer)?);
    let table = StaticTable::read(&files.table, &files.tokenizer)?;
    // All sessions before the first worker: a model that does not load leaves no thread behind.
    let encoders = (0..settings.threads.max(1))
        .map(|_| Encoder::new(&environment, &files, Arc::clone(&tokenizer)))
        .collect::<Result<Vec<_>, _>>()?;
    let ModelFiles { card, model, .. } = files;
    drop(model);
    for (number, encoder) in encoders.into_iter().enumerate() {
        let (receiver, worker_status) = (receiver.clone(), Arc::clone(status));
        let spawned = std::thread::Builder::new()
            .name(format!("embed-{number}"))
            .spawn(move || work(encoder, &receiver, &worker_status));
        match spawned {
            Ok(_) => status.workers.fetch_add(1, Ordering::Relaxed),
            // The workers that did start do the work; only a pool without workers is a failure.
            Err(_) if number > 0 => break,
            Err(error) => return Err(format!("no thread to embed on: {error}")),
        };
    }
    let load_ms = u64::try_from(started_at.elapsed().as_millis()).unwrap_or(u64::MAX);
    status
        .embedder_id
        .store(card.embedder_id(), Ordering::Relaxed);
    let is_first = status.table.set(Arc::new(table)).is_ok();
    debug_assert!(is_first, "the model is loaded once");
    let model = card.name;
    // Before the state, so that a caller that reads `Ready` finds jobs taken.
    status.ready.store(true, Ordering::Release);
    *status.model.lock() = ModelState::Ready { model, load_ms };
    Ok(())
}

fn work(mut encoder: Encoder, receiver: &Receiver<Job>, status: &PoolStatus) {
    // Ends when the last handle is dropped.
    while let Ok(job) = receiver.recv() {
        match job {
            Job::Run(work) => run_guarded(status, work),
            Job::Embed {
                text,
                deadline,
                allows_unknown,
                then,
            } => {
                let result = if deadline.is_some_and(|deadline| Instant::now() > deadline) {
                    Err(EmbedError::Deadline)
                } else {
                    let _in_library = status.library.read();
                    embed(&mut encoder, &text, allows_unknown)
                };
                count(status, &result);
                run_guarded(status, || then(result));
            }
        }
    }
}

fn embed(encoder: &mut Encoder, text: &str, allows_unknown: bool) -> Result<Embedded, EmbedError> {
    catch_unwind(AssertUnwindSafe(|| encoder.embed(text, allows_unknown)))
        .unwrap_or_else(|panic| Err(EmbedError::Model(panic_message(&*panic))))
}

fn run_guarded(status: &PoolStatus, work: impl FnOnce()) {
    if catch_unwind(AssertUnwindSafe(work)).is_err() {
        status.failed.fetch_add(1, Ordering::Relaxed);
    }
}

fn count(status: &PoolStatus, result: &Result<Embedded, EmbedError>) {
    let counter = match result {
        Ok(_) => &status.embedded,
        Err(EmbedError::Deadline) => &status.late,
        Err(EmbedError::Model(_)) => &status.failed,
        Err(EmbedError::Empty | EmbedError::OverWindow { .. } | EmbedError::UnknownToken) => {
            &status.unfit
        }
    };
    counter.fetch_add(1, Ordering::Relaxed);
}

fn panic_message(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic".to_owned())
}
