//! The semantic tier: one vector index for each scope, searched on the embedding pool's threads.
//!
//! A scope is everything of a request except the question, tenant and resolved model included, so a
//! neighbour can only be the same conversation with a differently worded question. The indexes live in
//! memory, and a process has one embedding model, so vectors of two models never meet.

use crate::cache::disk::record::StoredEmbedding;
use crate::cache::entry::Entry;
use crate::cache::key::Key;
use crate::cache::pending_removals::PendingRemovals;
use crate::cache::quality::error_rate::Quality;
use crate::cache::quality::log::ObservationLog;
use crate::cache::semantic::miss::SemanticMiss;
use crate::cache::semantic::scope::{Candidate, Scope};
use crate::cache::semantic::wrong_answers::WrongAnswers;
use crate::cache::store::Store;
use crate::cache::verify::model::Verifier;
use crate::cache::verify::verify::{Match, Query, Rejection, Thresholds};
use crate::embedding::codes::Code;
use crate::embedding::embed_result::{EmbedError, Embedded};
use crate::embedding::pool::EmbeddingPool;
use crate::embedding::status::ModelState;
use crate::embedding::vector::Vector;
use futures_channel::oneshot;
use parking_lot::RwLock;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Instant;

/// Longest question that is embedded, in bytes; a longer one exceeds the model's window.
pub const QUESTION_BYTES_MAX: usize = 4096;
/// Neighbours that are verified.
const NEIGHBOURS: usize = 4;
/// Neighbours searched, because some may have expired.
const SEARCHED: usize = 2 * NEIGHBOURS;

/// The semantic tier.
pub struct SemanticTier {
    pub(crate) embedding_pool: EmbeddingPool,
    pub(crate) store: Arc<Store>,
    scopes: RwLock<HashMap<u128, Arc<Scope>, foldhash::fast::RandomState>>,
    pending_removals: Arc<PendingRemovals>,
    wrong_answers: WrongAnswers,
    quality: Quality,
    observations: ObservationLog,
    next_vector: AtomicU64,
    observed_hits: AtomicU64,
    observed_misses: AtomicU64,
}

/// A semantic hit.
pub struct SemanticHit {
    pub(crate) entry: Arc<Entry>,
    /// Cosine similarity of the questions.
    pub(crate) similarity: f32,
    /// Probability that the answer is right.
    pub(crate) confidence: f32,
    /// The verifier's score.
    pub(crate) score: f32,
}

/// What a look-up found: a hit, or the reason for the miss.
pub type LookupResult = Result<SemanticHit, SemanticMiss>;

/// A look-up in progress on the embedding pool.
pub(crate) struct Lookup {
    pub result: oneshot::Receiver<LookupResult>,
    /// The question's vector, once it is computed; storing the response reuses it.
    pub vector: Arc<OnceLock<Vector>>,
}

impl SemanticTier {
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

    /// Starts a look-up, unless it is certain to miss. With `observe` its result is counted too.
    ///
    /// # Errors
    /// The reason why it is certain to miss.
    pub(crate) fn look_up(
        self: &Arc<Self>,
        key: &Key,
        thresholds: Thresholds,
        deadline: Instant,
        observe: bool,
    ) -> Result<Lookup, SemanticMiss> {
        if key.question().len() > QUESTION_BYTES_MAX {
            return Err(SemanticMiss::OverWindow);
        }
        if !self.embedding_pool.is_ready() {
            return Err(SemanticMiss::ModelNotReady);
        }
        let table = self
            .embedding_pool
            .table()
            .ok_or(SemanticMiss::ModelNotReady)?;
        let scope = self.scope(key.scope).ok_or(SemanticMiss::ScopeEmpty)?;
        let query = Query::read(key.question(), table).ok_or(SemanticMiss::TooManyWords)?;
        if let Some(floor) = thresholds.static_floor
            && let Some(code) = query.code()
            && !scope.reaches(&code, floor)
        {
            if observe {
                self.observed_misses.fetch_add(1, Ordering::Relaxed);
            }
            return Err(SemanticMiss::NothingNear);
        }
        let (sender, result) = oneshot::channel();
        let vector_slot = Arc::new(OnceLock::new());
        let (tier, key_copy, filled_slot) =
            (Arc::clone(self), key.clone(), Arc::clone(&vector_slot));
        let then = move |embedded: Result<Embedded, EmbedError>| {
            let found = embedded.map_err(SemanticMiss::from).and_then(|embedded| {
                let found = tier.search(&key_copy, &query, &embedded.vector, &thresholds);
                let is_first = filled_slot.set(embedded.vector).is_ok();
                debug_assert!(is_first, "a look-up computes one vector");
                found
            });
            if observe {
                let counter = match found {
                    Ok(_) => &tier.observed_hits,
                    Err(_) => &tier.observed_misses,
                };
                counter.fetch_add(1, Ordering::Relaxed);
            }
            // A request that no longer waits has dropped its receiver.
            let _ = sender.send(found);
        };
        let question = key.question().to_owned();
        self.embedding_pool.embed(question, Some(deadline), then)?;
        Ok(Lookup {
            result,
            vector: vector_slot,
        })
    }

    fn search(
        &self,
        key: &Key,
        query: &Query,
        vector: &Vector,
        thresholds: &Thresholds,
    ) -> LookupResult {
        let mut candidates = self.nearest(key.scope, vector);
        let now = Instant::now();
        let mut miss = None;
        let raised = self.wrong_answers.score_min(key.scope, vector);
        let thresholds = thresholds.raised_to(raised);
        // The hash found the scope; only equal scope bytes prove that it is the same.
        candidates.retain(|candidate| {
            let entry = &candidate.entry;
            // A client that still reads a deleted entry keeps it alive, and its vector in the index.
            entry.is_within(thresholds.stale_for, now)
                && entry.shares_scope(key)
                && self.store.contains(entry)
        });
        for Candidate { entry, similarity } in candidates.into_iter().take(NEIGHBOURS) {
            match query.judge(entry.question(), similarity, &thresholds) {
                Ok(Match { confidence, score }) => {
                    self.store.record_use(&entry);
                    return Ok(SemanticHit {
                        entry,
                        similarity,
                        confidence,
                        score,
                    });
                }
                // The reported reason is that of the nearest entry.
                Err(Rejection::Confidence) if raised.is_some() => {
                    miss = miss.or(Some(SemanticMiss::MarkedWrong));
                }
                Err(rejection) => {
                    miss = miss.or(Some(SemanticMiss::Rejected(rejection)));
                }
            }
        }
        Err(miss.unwrap_or(SemanticMiss::ScopeEmpty))
    }

    /// Remembers, on the embedding pool, that the stored answer to a question was wrong: from now on a hit
    /// for a similar question needs a higher score. `score` is the score at which the answer was served, if
    /// it is known.
    ///
    /// # Errors
    /// Why it cannot be remembered.
    pub(crate) fn mark_wrong(
        self: &Arc<Self>,
        scope: u128,
        question: String,
        score: Option<f32>,
    ) -> Result<(), SemanticMiss> {
        if question.len() > QUESTION_BYTES_MAX {
            return Err(SemanticMiss::OverWindow);
        }
        let tier = Arc::clone(self);
        let then = move |embedded: Result<Embedded, EmbedError>| {
            let strictest = Verifier::shipped().map_or(f32::INFINITY, Verifier::strictest);
            if let Ok(embedded) = embedded {
                tier.wrong_answers
                    .add(scope, &embedded.vector, score, strictest);
            }
        };
        self.embedding_pool.embed(question, None, then)?;
        Ok(())
    }

    /// The measured rate of wrong hits.
    #[must_use]
    pub(crate) fn quality(&self) -> &Quality {
        &self.quality
    }

    /// Compared pairs that wait to be written to the log.
    #[must_use]
    pub(crate) fn observations(&self) -> &ObservationLog {
        &self.observations
    }

    /// Questions whose answer was marked wrong.
    #[must_use]
    pub(crate) fn wrong_answers(&self) -> &WrongAnswers {
        &self.wrong_answers
    }

    /// Indexes a stored entry on the embedding pool, and persists it. `vector` is the question's vector, if
    /// it is known.
    ///
    /// # Errors
    /// Why the entry is not indexed. It can still be found by its exact key, and the caller must persist it.
    pub fn index(
        self: &Arc<Self>,
        entry: &Arc<Entry>,
        vector: Option<Vector>,
    ) -> Result<(), SemanticMiss> {
        if entry.question().len() > QUESTION_BYTES_MAX {
            return Err(SemanticMiss::OverWindow);
        }
        let (tier, weak) = (Arc::clone(self), Arc::downgrade(entry));
        let (store, not_embedded) = (Arc::clone(&self.store), Weak::clone(&weak));
        let insert = move |vector: Vector| {
            tier.apply_removals();
            // What was deleted meanwhile may still be held by a reader.
            if let Some(entry) = weak.upgrade().filter(|entry| tier.store.contains(entry)) {
                let code = Code::new(&vector);
                tier.insert(&entry, &code);
                let embedder_id = tier.embedding_pool.embedder_id();
                tier.store
                    .persist(&entry, Some(StoredEmbedding { embedder_id, code }));
            }
        };
        if let Some(vector) = vector {
            self.embedding_pool.run(move || insert(vector))?;
            return Ok(());
        }
        let then = move |embedded: Result<Embedded, EmbedError>| match (
            embedded,
            not_embedded.upgrade(),
        ) {
            (Ok(embedded), _) => insert(embedded.vector),
            (Err(_), Some(entry)) => store.persist(&entry, None),
            (Err(_), None) => {}
        };
        self.embedding_pool
            .embed(entry.question().to_owned(), None, then)?;
        Ok(())
    }

    /// Indexes an entry with a vector that was made earlier, if the same model made it.
    pub(crate) fn restore(&self, entry: &Arc<Entry>, embedding: &StoredEmbedding) {
        if self.embedding_pool.embedder_id() == embedding.embedder_id {
            self.insert(entry, &embedding.code);
        }
    }

    /// Whether the model is loaded; `None` when it cannot be loaded.
    #[must_use]
    pub(crate) fn readiness(&self) -> Option<bool> {
        match self.embedding_pool.model_state() {
            ModelState::Failed(_) => None,
            ModelState::Loading => Some(false),
            ModelState::Ready { .. } => Some(true),
        }
    }

    fn insert(&self, entry: &Arc<Entry>, vector: &Code) {
        let id = self.next_vector.fetch_add(1, Ordering::Relaxed);
        let query = self
            .embedding_pool
            .table()
            .and_then(|table| Query::read(entry.question(), table));
        // A question that cannot be read cannot be verified, and would never be served.
        let Some(static_code) = query.and_then(|query| query.code()) else {
            return;
        };
        loop {
            let scope = Arc::clone(self.scopes.write().entry(entry.scope).or_default());
            let Some(mut vectors) = scope.lock() else {
                continue;
            };
            entry.set_vector(id);
            scope.add(&mut vectors, id, vector, &static_code, entry);
            let delta = scope.take_charge(&mut vectors);
            drop(vectors);
            self.store.charge(delta);
            return;
        }
    }

    /// Removes the vectors of dropped entries from their indexes, and empty scopes from the map.
    pub fn apply_removals(&self) {
        for removal in self.pending_removals.take() {
            let Some(scope) = self.scope(removal.scope) else {
                continue;
            };
            let Some(mut vectors) = scope.lock() else {
                continue;
            };
            scope.remove(&mut vectors, removal.vector);
            if vectors.is_empty() {
                vectors.set_removed();
                // The scope is locked: no insertion can come between.
                self.scopes.write().remove(&removal.scope);
            }
            let delta = scope.take_charge(&mut vectors);
            drop(vectors);
            self.store.charge(delta);
        }
    }

    /// Removes expired entries and their vectors.
    pub(crate) fn sweep(&self, now: Instant) {
        self.store.sweep(now);
        self.apply_removals();
    }

    /// Scopes and vectors held.
    #[must_use]
    pub fn size(&self) -> (usize, usize) {
        let scopes: Vec<_> = self.scopes.read().values().cloned().collect();
        let vectors = scopes.iter().map(|scope| scope.len());
        (scopes.len(), vectors.sum())
    }

    /// The entries of a scope whose questions are nearest to a vector.
    #[must_use]
    pub fn nearest(&self, scope: u128, vector: &Vector) -> Vec<Candidate> {
        let scope = self.scope(scope);
        scope.map_or_else(Vec::new, |scope| scope.nearest(vector, SEARCHED))
    }

    /// Whether the vector of this entry is in the index of its scope.
    #[must_use]
    pub fn contains(&self, entry: &Arc<Entry>) -> bool {
        self.scope(entry.scope)
            .is_some_and(|scope| scope.contains(entry))
    }

    /// Hits and misses counted in mode `observe`.
    #[must_use]
    pub(crate) fn observed(&self) -> (u64, u64) {
        (
            self.observed_hits.load(Ordering::Relaxed),
            self.observed_misses.load(Ordering::Relaxed),
        )
    }

    fn scope(&self, scope: u128) -> Option<Arc<Scope>> {
        self.scopes.read().get(&scope).cloned()
    }
}
