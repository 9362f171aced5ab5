//! Look-up by meaning: one small vector index per scope, searched in the embedding workshop.
//!
//! A scope is everything of a request but the question, tenant and resolved model included, so a
//! neighbour can only be the same conversation's other wording. Nothing here outlives the process,
//! and a process has one embedding model, so vectors of two models never meet.

use crate::cache::disk::record::Embedding;
use crate::cache::entry::{Entry, Key, PendingRemovals, VECTOR_BYTES};
use crate::cache::quality::error_rate::Quality;
use crate::cache::quality::log::ObservationLog;
use crate::cache::store::Store;
use crate::cache::verify::model::Verifier;
use crate::cache::verify::verify::{MatchVerdict, Query, Thresholds};
use crate::cache::wrong_answers::WrongAnswers;
use crate::embedding::codes::Code;
use crate::embedding::embed_result::{EmbedError, EmbedRejection, Embedded};
use crate::embedding::index::{VectorIndex, push_compact};
use crate::embedding::pool::EmbeddingPool;
use crate::embedding::static_index::{StaticCode, StaticIndex};
use crate::embedding::status::ModelState;
use crate::embedding::vector::Vector;
use futures_channel::oneshot;
use parking_lot::{Mutex, RwLock};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Instant;

/// Longest question that is embedded, in bytes; beyond it surely exceeds the model's window.
pub const QUESTION_BYTES_MAX: usize = 4096;
/// Neighbours that are judged.
const NEIGHBOURS: usize = 4;
/// Neighbours looked at to find them: some may be past their time.
const LOOKED_AT: usize = 2 * NEIGHBOURS;
/// What a scope takes beside its tables: itself, with its counts, and its place in the map.
const SCOPE_BYTES: u64 = (size_of::<Scope>() + 16 + 2 * size_of::<(u128, Arc<Scope>)>()) as u64;

/// The tier.
pub struct Semantic {
    pub(crate) embedding_pool: EmbeddingPool,
    pub(crate) store: Arc<Store>,
    scopes: RwLock<HashMap<u128, Arc<Scope>, foldhash::fast::RandomState>>,
    pending_removals: Arc<PendingRemovals>,
    wrong_answers: WrongAnswers,
    pub(crate) quality: Quality,
    pub(crate) observations: ObservationLog,
    next_vector: AtomicU64,
    observed_hits: AtomicU64,
    observed_misses: AtomicU64,
}

/// One scope. The data core reads `near` only, which is never locked for long.
#[derive(Default)]
struct Scope {
    near: RwLock<StaticIndex>,
    entries: Mutex<Entries>,
}

/// The index, and in the same order whose vectors they are. `Scope::near` has that order too, and is
/// written only while this is locked.
#[derive(Default)]
struct Entries {
    index: VectorIndex,
    owners: Vec<Weak<Entry>>,
    /// Taken out of the map: whoever still holds it must get the new one.
    removed: bool,
    /// What the store is charged with for this scope, beyond what its entries are accounted with.
    charged: u64,
}

/// A hit by meaning.
pub struct SemanticHit {
    /// The entry.
    pub entry: Arc<Entry>,
    /// Cosine similarity of the questions.
    pub similarity: f32,
    /// Probability that the answer is right.
    pub confidence: f32,
    /// The verifier's score.
    pub score: f32,
}

/// What a look-up found: a hit, or the rule that refused.
pub type LookupOutcome = Result<SemanticHit, &'static str>;

/// A look-up under way in the workshop.
pub struct Lookup {
    /// The outcome, once there.
    pub outcome: oneshot::Receiver<LookupOutcome>,
    /// The question's vector, once there; reused when the answer is stored.
    pub vector: Arc<OnceLock<Vector>>,
}

impl Semantic {
    /// An empty tier over `store`.
    #[must_use]
    pub fn new(
        embedding_pool: EmbeddingPool,
        store: Arc<Store>,
        pending_removals: Arc<PendingRemovals>,
    ) -> Self {
        Self {
            embedding_pool,
            store,
            scopes: RwLock::default(),
            pending_removals,
            wrong_answers: WrongAnswers::default(),
            quality: Quality::default(),
            observations: ObservationLog::default(),
            next_vector: AtomicU64::new(1),
            observed_hits: AtomicU64::new(0),
            observed_misses: AtomicU64::new(0),
        }
    }

    /// Starts a look-up, if it is not a certain miss. `observe` only counts what would have been.
    ///
    /// # Errors
    /// The rule that makes it a certain miss.
    pub fn look_up(
        self: &Arc<Self>,
        key: &Key,
        bar: Thresholds,
        by: Instant,
        observe: bool,
    ) -> Result<Lookup, &'static str> {
        if key.question().len() > QUESTION_BYTES_MAX {
            return Err("over-window");
        }
        if !self.embedding_pool.is_ready() {
            return Err("model-not-ready");
        }
        let table = self.embedding_pool.table().ok_or("model-not-ready")?;
        let scope = self.scopes.read().get(&key.scope).cloned();
        let scope = scope.ok_or("scope-empty")?;
        let asked = Query::read(key.question(), table).ok_or("too-many-words")?;
        if let Some(floor) = bar.static_floor
            && let Some(code) = asked.code()
            && !scope.near.read().reaches(&code, floor)
        {
            if observe {
                self.observed_misses.fetch_add(1, Ordering::Relaxed);
            }
            return Err("nothing-near");
        }
        let (upstream_response, outcome) = oneshot::channel();
        let slot = Arc::new(OnceLock::new());
        let (this, key_copy, vector) = (Arc::clone(self), key.clone(), Arc::clone(&slot));
        let then = move |embedded: Result<Embedded, EmbedError>| {
            let found = match embedded {
                Ok(embedded) => {
                    let found = this.search(&key_copy, &asked, &embedded.vector, &bar);
                    let _ = vector.set(embedded.vector);
                    found
                }
                Err(error) => Err(refusal(&error)),
            };
            if observe {
                let counter = match found {
                    Ok(_) => &this.observed_hits,
                    Err(_) => &this.observed_misses,
                };
                counter.fetch_add(1, Ordering::Relaxed);
            }
            let _ = upstream_response.send(found);
        };
        match self
            .embedding_pool
            .embed(key.question().to_owned(), Some(by), then)
        {
            Ok(()) => Ok(Lookup {
                outcome,
                vector: slot,
            }),
            Err(refused) => Err(refused.as_str()),
        }
    }

    fn search(&self, key: &Key, asked: &Query, vector: &Vector, bar: &Thresholds) -> LookupOutcome {
        let mut candidates = self.nearest(key.scope, vector);
        let now = Instant::now();
        let mut refused = None;
        let raised = self.wrong_answers.score_min(key.scope, vector);
        let bar = &bar.raised_to(raised);
        // The hash found the scope; only an equal form is it.
        candidates
            .retain(|(entry, _)| entry.is_within(bar.stale_for, now) && entry.shares_scope(key));
        for (entry, similarity) in candidates.into_iter().take(NEIGHBOURS) {
            match asked.judge(&entry, similarity, bar) {
                MatchVerdict::Serve { confidence, score } => {
                    self.store.used(&entry);
                    return Ok(SemanticHit {
                        entry,
                        similarity,
                        confidence,
                        score,
                    });
                }
                // What is told is why the nearest was refused.
                MatchVerdict::Refuse("confidence") if raised.is_some() => {
                    refused = refused.or(Some("refuted"));
                }
                MatchVerdict::Refuse(rule) => refused = refused.or(Some(rule)),
            }
        }
        Err(refused.unwrap_or("scope-empty"))
    }

    /// Remembers, in the workshop, that the stored answer to a question was wrong: near it, more is needed
    /// from now on. `score` is what it was served at, if that is known.
    ///
    /// # Errors
    /// Why it cannot be remembered.
    pub fn refute(
        self: &Arc<Self>,
        scope: u128,
        question: String,
        score: Option<f32>,
    ) -> Result<(), &'static str> {
        if question.len() > QUESTION_BYTES_MAX {
            return Err("over-window");
        }
        let this = Arc::clone(self);
        let then = move |embedded: Result<Embedded, EmbedError>| {
            let strict = Verifier::shipped().map_or(f32::INFINITY, Verifier::strictest);
            if let Ok(embedded) = embedded {
                this.wrong_answers
                    .add(scope, &embedded.vector, score, strict);
            }
        };
        let queued = self.embedding_pool.embed(question, None, then);
        queued.map_err(EmbedRejection::as_str)
    }

    /// How often hits are wrong, as far as it was learned.
    #[must_use]
    pub fn quality(&self) -> &Quality {
        &self.quality
    }

    /// Compared pairs on their way to the log.
    #[must_use]
    pub fn observations(&self) -> &ObservationLog {
        &self.observations
    }

    /// What was refuted.
    #[must_use]
    pub fn wrong_answers(&self) -> &WrongAnswers {
        &self.wrong_answers
    }

    /// Indexes a stored entry, in the workshop, and has it written to the disk. `vector` is the
    /// question's, if it is known already.
    ///
    /// # Errors
    /// Why it cannot be found by meaning; it still can by its exact key, and is not written yet.
    pub fn index(
        self: &Arc<Self>,
        entry: &Arc<Entry>,
        vector: Option<Vector>,
    ) -> Result<(), &'static str> {
        if entry.question().len() > QUESTION_BYTES_MAX {
            return Err("over-window");
        }
        let (this, weak) = (Arc::clone(self), Arc::downgrade(entry));
        let (store, unembedded) = (Arc::clone(&self.store), Weak::clone(&weak));
        let insert = move |vector: Vector| {
            this.bury();
            if let Some(entry) = weak.upgrade() {
                let code = Code::new(&vector);
                this.insert(&entry, &code);
                let embedder = this.embedding_pool.embedder_id();
                this.store.keep(&entry, Some(Embedding { embedder, code }));
            }
        };
        let queued = match vector {
            Some(vector) => self.embedding_pool.run(move || insert(vector)),
            None => self
                .embedding_pool
                .embed(entry.question().to_owned(), None, move |embedded| {
                    match (embedded, unembedded.upgrade()) {
                        (Ok(embedded), _) => insert(embedded.vector),
                        (Err(_), Some(entry)) => store.keep(&entry, None),
                        (Err(_), None) => {}
                    }
                }),
        };
        queued.map_err(EmbedRejection::as_str)
    }

    /// Indexes an entry with a vector that was made earlier, if this model made it.
    pub fn restore(&self, entry: &Arc<Entry>, embedding: &Embedding) {
        if self.embedding_pool.embedder_id() == embedding.embedder {
            self.insert(entry, &embedding.code);
        }
    }

    /// Whether the model is loaded; `None` when it never will be.
    #[must_use]
    pub fn readiness(&self) -> Option<bool> {
        match self.embedding_pool.model_state() {
            ModelState::Failed(_) => None,
            ModelState::Loading => Some(false),
            ModelState::Ready { .. } => Some(true),
        }
    }

    fn insert(&self, entry: &Arc<Entry>, vector: &Code) {
        let id = self.next_vector.fetch_add(1, Ordering::Relaxed);
        let asked = self
            .embedding_pool
            .table()
            .and_then(|table| Query::read(entry.question(), table));
        // What cannot be read cannot be judged, and would never be served.
        let Some(code) = asked.and_then(|asked| asked.code()) else {
            return;
        };
        loop {
            let scope = Arc::clone(self.scopes.write().entry(entry.scope).or_default());
            let mut entries = scope.entries.lock();
            if entries.removed {
                continue;
            }
            entry.set_vector(id);
            scope.add(&mut entries, id, vector, &code, entry);
            let due = scope.due(&mut entries);
            drop(entries);
            self.store.charge(due);
            return;
        }
    }

    /// Takes the vectors of lost entries out of their indexes, and empty scopes out of the map.
    pub fn bury(&self) {
        for (key, id) in self.pending_removals.take() {
            let Some(scope) = self.scopes.read().get(&key).cloned() else {
                continue;
            };
            let mut entries = scope.entries.lock();
            scope.forget(&mut entries, id);
            if entries.owners.is_empty() && !entries.removed {
                entries.removed = true;
                // The scope's lock is held: no insertion can come between.
                self.scopes.write().remove(&key);
            }
            let due = scope.due(&mut entries);
            drop(entries);
            self.store.charge(due);
        }
    }

    /// Removes expired entries and what they left behind.
    pub fn sweep(&self, now: Instant) {
        self.store.sweep(now);
        self.bury();
    }

    /// Scopes and vectors held.
    #[must_use]
    pub fn size(&self) -> (usize, usize) {
        let scopes: Vec<_> = self.scopes.read().values().cloned().collect();
        let vectors = scopes.iter().map(|scope| scope.entries.lock().owners.len());
        (scopes.len(), vectors.sum())
    }

    /// The entries of a scope whose questions are nearest to a vector, with their cosines.
    #[must_use]
    pub fn nearest(&self, scope: u128, vector: &Vector) -> Vec<(Arc<Entry>, f32)> {
        let scope = self.scopes.read().get(&scope).cloned();
        scope.map_or_else(Vec::new, |scope| scope.candidates(vector))
    }

    /// Whether this entry is in its scope's index.
    #[must_use]
    pub fn has(&self, entry: &Arc<Entry>) -> bool {
        let scope = self.scopes.read().get(&entry.scope).cloned();
        scope.is_some_and(|scope| {
            let entries = scope.entries.lock();
            let place = entries.index.position(entry.vector());
            let owner = place.and_then(|at| entries.owners.get(at));
            owner.is_some_and(|owner| std::ptr::eq(owner.as_ptr(), Arc::as_ptr(entry)))
        })
    }

    /// Would-be hits and misses seen in mode `observe`.
    #[must_use]
    pub fn observed(&self) -> (u64, u64) {
        (
            self.observed_hits.load(Ordering::Relaxed),
            self.observed_misses.load(Ordering::Relaxed),
        )
    }
}

impl Scope {
    /// The nearest entries; they are judged outside the lock.
    fn candidates(&self, vector: &Vector) -> Vec<(Arc<Entry>, f32)> {
        let mut entries = self.entries.lock();
        let nearest = entries.index.nearest_k(vector, LOOKED_AT);
        let mut found = Vec::with_capacity(nearest.len());
        for neighbour in nearest {
            let position = entries.index.position(neighbour.id);
            let owner = position.and_then(|position| entries.owners.get(position));
            match owner.and_then(Weak::upgrade) {
                Some(entry) => found.push((entry, neighbour.cosine)),
                None => self.forget(&mut entries, neighbour.id),
            }
        }
        found
    }

    fn add(
        &self,
        entries: &mut Entries,
        id: u64,
        vector: &Code,
        code: &StaticCode,
        entry: &Arc<Entry>,
    ) {
        entries.index.insert(id, vector);
        push_compact(&mut entries.owners, Arc::downgrade(entry));
        self.near.write().insert(code);
    }

    fn forget(&self, entries: &mut Entries, id: u64) {
        if let Some(at) = entries.index.remove(id) {
            entries.owners.swap_remove(at);
            self.near.write().remove(at);
        }
    }

    /// How much more, or less, the store is to be charged with for this scope than it is.
    fn due(&self, entries: &mut Entries) -> i64 {
        let charge = if entries.removed {
            0
        } else {
            let tables = entries.index.memory_bytes()
                + entries.owners.capacity() * size_of::<Weak<Entry>>()
                + self.near.read().memory_bytes();
            let accounted = VECTOR_BYTES * entries.owners.len() as u64;
            SCOPE_BYTES + (tables as u64).saturating_sub(accounted)
        };
        let due = charge.cast_signed() - entries.charged.cast_signed();
        entries.charged = charge;
        due
    }
}

fn refusal(error: &EmbedError) -> &'static str {
    match error {
        EmbedError::Empty => "empty",
        EmbedError::OverWindow { .. } => "over-window",
        EmbedError::UnknownToken => "unknown-token",
        EmbedError::Deadline => "deadline",
        EmbedError::Model(_) => "model-failed",
    }
}
