//! Nearest-neighbour search over a set of vectors: an exact scan for small sets, a graph for larger ones.
//!
//! The index stores one byte per component ([`Code`]). With either method the similarity returned is the
//! cosine of the full query vector to the code, exact within about a thousandth.
//!
//! It must not know what the ids stand for.

use crate::embedding::codes::{Code, QueryVector, with_wide_registers};
use crate::embedding::graph::Graph;
use crate::embedding::vector::DIMENSIONS;
use std::cmp::Ordering;
use std::collections::HashMap;

/// The size at which an index begins to build a graph; a scan of this size takes about 0.1 ms.
pub const GRAPH_FROM: usize = 2048;
/// The size at which an index drops its graph: half of [`GRAPH_FROM`], so that a set near that size does not
/// build and drop a graph in turn.
pub const GRAPH_UNTIL: usize = GRAPH_FROM / 2;
/// Older vectors added to an unfinished graph with each insertion, until none is left.
const BACKFILL: usize = 4;
/// Fewest candidates that are requested from the graph; their similarities are computed again.
const RESCORED_MIN: usize = 16;
/// A full table grows by its length divided by this: doubling would leave a quarter of the memory unused.
const GROWTH_DIVISOR: usize = 8;

/// Vectors by id.
#[derive(Default)]
pub struct VectorIndex {
    ids: Vec<u64>,
    /// In the order of `ids`; empty once the graph holds all codes.
    codes: Vec<Code>,
    /// The position in `ids` of each id.
    positions: HashMap<u64, u32, foldhash::fast::RandomState>,
    graph: Option<Graph>,
    /// Ids that are not yet in the graph; it is searched once there are none.
    not_in_graph: Vec<u64>,
    /// usearch failed once: from then on the index is scanned, which is slower but correct.
    graph_failed: bool,
}

/// A vector that a search found.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Neighbour {
    /// The vector's id.
    pub id: u64,
    /// Its cosine to the query.
    pub cosine: f32,
}

impl Neighbour {
    /// Orders by similarity, the nearest first; at equal distance, the smaller id first.
    fn by_similarity(&self, other: &Self) -> Ordering {
        let by_cosine = other.cosine.total_cmp(&self.cosine);
        by_cosine.then(self.id.cmp(&other.id))
    }
}

impl VectorIndex {
    /// An empty index.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a vector at the end, under an id that the index does not have.
    pub fn insert(&mut self, id: u64, code: &Code) {
        debug_assert!(!self.positions.contains_key(&id), "ids are unique");
        let position = u32::try_from(self.ids.len()).unwrap_or(u32::MAX);
        self.positions.insert(id, position);
        push_compact(&mut self.ids, id);
        if self.is_in_graph() {
            let added = self.graph.as_mut().map(|graph| graph.add(id, code));
            if added.is_some_and(|added| added.is_err()) {
                self.graph_failed = true;
                self.drop_graph();
                if let Some(last) = self.codes.last_mut() {
                    *last = *code;
                }
            }
            return;
        }
        push_compact(&mut self.codes, *code);
        if (self.graph.is_some() || self.ids.len() >= GRAPH_FROM)
            && !self.graph_failed
            && self.grow_graph(id).is_err()
        {
            self.graph_failed = true;
            self.drop_graph();
        }
    }

    /// Removes a vector and returns its position; the last vector takes that position.
    pub fn remove(&mut self, id: u64) -> Option<usize> {
        let position = self.positions.remove(&id)?;
        let index = position as usize;
        self.ids.swap_remove(index);
        if let Some(moved) = self.ids.get(index) {
            self.positions.insert(*moved, position);
        }
        if index < self.codes.len() {
            self.codes.swap_remove(index);
        }
        if let Some(graph) = &mut self.graph {
            graph.remove(id);
            self.not_in_graph.retain(|other| *other != id);
            if self.ids.len() < GRAPH_UNTIL {
                self.drop_graph();
            } else if self.not_in_graph.is_empty() {
                self.codes = Vec::new();
            }
        }
        self.shrink_if_sparse();
        Some(index)
    }

    /// The position of a vector: the order of insertion, changed by removals (see [`VectorIndex::remove`]).
    #[must_use]
    pub fn position(&self, id: u64) -> Option<usize> {
        self.positions.get(&id).map(|position| *position as usize)
    }

    /// The vector nearest to `query`.
    #[must_use]
    pub fn nearest(&self, query: &[f32]) -> Option<Neighbour> {
        self.nearest_k(query, 1).first().copied()
    }

    /// The `k` vectors nearest to `query`, the nearest first. Exact up to [`GRAPH_FROM`] vectors and
    /// approximate beyond; a set that shrank is exact again below [`GRAPH_UNTIL`]. Empty when `query` is not
    /// a vector of this model.
    #[must_use]
    pub fn nearest_k(&self, query: &[f32], k: usize) -> Vec<Neighbour> {
        if k == 0 || query.len() != DIMENSIONS || !query.iter().all(|x| x.is_finite()) {
            return Vec::new();
        }
        let length = query.iter().map(|x| x * x).sum::<f32>().sqrt();
        let query_vector = QueryVector::new(query, length);
        let mut found: Vec<Neighbour> = match &self.graph {
            Some(graph) if self.not_in_graph.is_empty() => {
                let ids = graph.candidates(query, RESCORED_MIN.max(k.saturating_mul(4)));
                let scored = ids.into_iter().filter_map(|id| {
                    let cosine = graph.code(id)?.cosine(&query_vector);
                    Some(Neighbour { id, cosine })
                });
                scored.collect()
            }
            _ => {
                let all = self.ids.iter().zip(&self.codes);
                with_wide_registers(
                    #[inline(always)]
                    || {
                        let scored = all.map(|(id, code)| Neighbour {
                            id: *id,
                            cosine: code.cosine(&query_vector),
                        });
                        scored.collect()
                    },
                )
            }
        };
        if k < found.len() {
            found.select_nth_unstable_by(k, Neighbour::by_similarity);
            found.truncate(k);
        }
        found.sort_unstable_by(Neighbour::by_similarity);
        found
    }

    /// Vectors held.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether the index holds no vector.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// Memory held, in bytes.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        // The map has one control byte per slot, and an eighth of its slots stays free.
        let slots = self.positions.capacity() * 8 / 7;
        self.ids.capacity() * size_of::<u64>()
            + self.codes.capacity() * size_of::<Code>()
            + slots * (size_of::<(u64, u32)>() + 1)
            + self.not_in_graph.capacity() * size_of::<u64>()
            + self.graph.as_ref().map_or(0, Graph::memory_bytes)
    }

    /// Whether the graph is complete and holds the only copy of the codes.
    fn is_in_graph(&self) -> bool {
        self.graph.is_some() && self.not_in_graph.is_empty()
    }

    /// Creates the graph if there is none, and adds the new vector and a few older ones to it: building the
    /// whole graph at once would lock the index for a tenth of a second.
    fn grow_graph(&mut self, new: u64) -> Result<(), String> {
        let graph = match &mut self.graph {
            Some(graph) => graph,
            none => {
                let ids = self.ids.iter().copied();
                self.not_in_graph = ids.filter(|id| *id != new).collect();
                none.insert(Graph::new(GRAPH_FROM * 3 / 2)?)
            }
        };
        let rest = self.not_in_graph.len().saturating_sub(BACKFILL);
        for id in self.not_in_graph.drain(rest..).chain([new]) {
            let position = self.positions.get(&id);
            let code = position.and_then(|position| self.codes.get(*position as usize));
            debug_assert!(code.is_some(), "every id outside the graph has a code");
            if let Some(code) = code {
                graph.add(id, code)?;
            }
        }
        if self.not_in_graph.is_empty() {
            self.not_in_graph = Vec::new();
            self.codes = Vec::new();
        }
        Ok(())
    }

    /// Drops the graph; the index is scanned from now on.
    fn drop_graph(&mut self) {
        if let Some(graph) = self.graph.take().filter(|_| self.not_in_graph.is_empty()) {
            // A code that usearch fails to return becomes a zero vector, whose cosine to any query is 0.
            let zero = Code::from_bytes(&[0; DIMENSIONS]);
            let codes = self.ids.iter().map(|id| graph.code(*id).unwrap_or(zero));
            self.codes = codes.collect();
        }
        self.not_in_graph = Vec::new();
    }

    /// Frees memory once more than half of it is unused.
    fn shrink_if_sparse(&mut self) {
        let len = self.ids.len();
        if self.ids.capacity() > 2 * len + GROWTH_DIVISOR {
            self.ids.shrink_to(len + len / GROWTH_DIVISOR);
            self.codes.shrink_to(len + len / GROWTH_DIVISOR);
            self.positions.shrink_to(len);
        }
    }
}

/// Appends to a vector that grows by an eighth instead of doubling.
pub(crate) fn push_compact<T>(items: &mut Vec<T>, item: T) {
    if items.len() == items.capacity() {
        items.reserve_exact(items.len() / GROWTH_DIVISOR + 1);
    }
    items.push(item);
}

#[cfg(test)]
#[path = "index_tests.rs"]
mod tests;
