//! The vectors of one cache scope, and the entries that they belong to.
//!
//! A scope is everything of a request except the question, tenant and resolved model included. It must not
//! know how a candidate is verified.

use crate::cache::entry::{Entry, VECTOR_BYTES};
use crate::embedding::codes::Code;
use crate::embedding::index::{VectorIndex, push_compact};
use crate::embedding::static_index::{StaticCode, StaticIndex};
use crate::embedding::vector::Vector;
use parking_lot::{Mutex, MutexGuard, RwLock};
use std::sync::{Arc, Weak};

/// Bytes that a scope takes besides its tables: itself with its reference counts, and its slot in the map of
/// scopes.
const SCOPE_BYTES: u64 = (size_of::<Scope>() + 16 + 2 * size_of::<(u128, Arc<Scope>)>()) as u64;

/// The vectors of one scope. The data core reads only the static vectors, which are never locked for long.
#[derive(Default)]
pub(crate) struct Scope {
    static_index: RwLock<StaticIndex>,
    vectors: Mutex<ScopeVectors>,
}

/// The index and, in the same order, the entries of its vectors. `Scope::static_index` has the same order and
/// is written only while this is locked.
#[derive(Default)]
pub(crate) struct ScopeVectors {
    index: VectorIndex,
    owners: Vec<Weak<Entry>>,
    /// The scope was removed from the map; a thread that still holds it must get the new one.
    is_removed: bool,
    /// Bytes that the store was charged with for this scope, beyond those of its entries.
    charged_bytes: u64,
}

/// An entry whose question is near to a query.
pub struct Candidate {
    /// The entry.
    pub entry: Arc<Entry>,
    /// Cosine of the two questions.
    pub similarity: f32,
}

impl Scope {
    /// Whether the static vector of any entry reaches `cosine_min`.
    pub(crate) fn reaches(&self, query: &StaticCode, cosine_min: f32) -> bool {
        self.static_index.read().reaches(query, cosine_min)
    }

    /// The vectors, locked; `None` when the scope was removed from the map.
    pub(crate) fn lock(&self) -> Option<MutexGuard<'_, ScopeVectors>> {
        Some(self.vectors.lock()).filter(|vectors| !vectors.is_removed)
    }

    /// Vectors held.
    pub(crate) fn len(&self) -> usize {
        self.vectors.lock().owners.len()
    }

    /// The `count` entries nearest to a vector. They are verified outside the lock.
    pub(crate) fn nearest(&self, vector: &Vector, count: usize) -> Vec<Candidate> {
        let mut vectors = self.vectors.lock();
        let nearest = vectors.index.nearest_k(vector, count);
        let mut candidates = Vec::with_capacity(nearest.len());
        for neighbour in nearest {
            let owner = vectors.owner(neighbour.id).and_then(Weak::upgrade);
            match owner {
                Some(entry) => candidates.push(Candidate {
                    entry,
                    similarity: neighbour.cosine,
                }),
                None => self.remove(&mut vectors, neighbour.id),
            }
        }
        candidates
    }

    /// Whether the vector of this entry is in the index.
    pub(crate) fn contains(&self, entry: &Arc<Entry>) -> bool {
        let vectors = self.vectors.lock();
        let owner = vectors.owner(entry.vector());
        owner.is_some_and(|owner| std::ptr::eq(owner.as_ptr(), Arc::as_ptr(entry)))
    }

    /// Adds a vector of an entry under a new id.
    pub(crate) fn add(
        &self,
        vectors: &mut ScopeVectors,
        id: u64,
        vector: &Code,
        static_code: &StaticCode,
        entry: &Arc<Entry>,
    ) {
        vectors.index.insert(id, vector);
        push_compact(&mut vectors.owners, Arc::downgrade(entry));
        self.static_index.write().insert(static_code);
    }

    /// Removes a vector, if the index has it.
    pub(crate) fn remove(&self, vectors: &mut ScopeVectors, id: u64) {
        if let Some(position) = vectors.index.remove(id) {
            vectors.owners.swap_remove(position);
            self.static_index.write().remove(position);
        }
    }

    /// By how many bytes the memory of this scope has changed since the last call.
    pub(crate) fn take_charge(&self, vectors: &mut ScopeVectors) -> i64 {
        let bytes = if vectors.is_removed {
            0
        } else {
            let tables = vectors.index.memory_bytes()
                + vectors.owners.capacity() * size_of::<Weak<Entry>>()
                + self.static_index.read().memory_bytes();
            let accounted = VECTOR_BYTES * vectors.owners.len() as u64;
            SCOPE_BYTES + (tables as u64).saturating_sub(accounted)
        };
        let delta = bytes.cast_signed() - vectors.charged_bytes.cast_signed();
        vectors.charged_bytes = bytes;
        delta
    }
}

impl ScopeVectors {
    pub(crate) fn is_empty(&self) -> bool {
        self.owners.is_empty()
    }

    /// Marks the scope as removed from the map.
    pub(crate) fn set_removed(&mut self) {
        self.is_removed = true;
    }

    fn owner(&self, id: u64) -> Option<&Weak<Entry>> {
        self.owners.get(self.index.position(id)?)
    }
}
