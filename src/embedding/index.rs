//! The nearest of a set of vectors: by an exact scan while there are few, by a graph beyond.
//!
//! The scan is over the full vectors. One byte per component would save memory traffic but not time:
//! 72 ns per vector against 38, because the baseline instruction set has to widen the bytes first.
//! Whatever proposes candidates, the similarity given out is the cosine of the full vectors.
//!
//! Must not know: what the ids stand for.

use super::codes::dot;
use super::graph::Graph;
use super::{DIMENSIONS, Vector};
use std::cmp::Ordering;
use std::collections::HashMap;

/// A graph is begun at this size; up to here, a scan takes about 0.1 ms.
pub const GRAPH_FROM: usize = 2048;
/// The graph is given up at this size: well below, so that a set near the limit does not swing.
pub const GRAPH_UNTIL: usize = GRAPH_FROM / 2;
/// Older vectors taken into an unfinished graph with each insertion: all of them, in time.
const CATCH_UP: usize = 4;
/// Candidates that the graph is asked for at least, to be compared in full.
const RESCORED_MIN: usize = 16;

/// Vectors by id.
#[derive(Default)]
pub struct VectorIndex {
    slots: Vec<Slot>,
    places: HashMap<u64, usize, foldhash::fast::RandomState>,
    graph: Option<Graph>,
    /// Ids that the graph has yet to take; it answers once there are none.
    outside: Vec<u64>,
    /// usearch failed once: scanning is slower, but right.
    no_graph: bool,
}

struct Slot {
    id: u64,
    vector: Vector,
}

impl VectorIndex {
    /// An empty index.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a vector, or replaces the one that has this id. A vector that does not have
    /// [`DIMENSIONS`] components is left out.
    pub fn insert(&mut self, id: u64, vector: &Vector) {
        self.remove(id);
        if vector.len() != DIMENSIONS {
            return;
        }
        self.places.insert(id, self.slots.len());
        let vector = Vector::clone(vector);
        self.slots.push(Slot { id, vector });
        if (self.graph.is_some() || self.slots.len() >= GRAPH_FROM)
            && !self.no_graph
            && self.grow_graph(id).is_err()
        {
            self.no_graph = true;
            self.drop_graph();
        }
    }

    /// Removes a vector; whether there was one.
    pub fn remove(&mut self, id: u64) -> bool {
        let Some(at) = self.places.remove(&id) else {
            return false;
        };
        self.slots.swap_remove(at);
        if let Some(moved) = self.slots.get(at) {
            self.places.insert(moved.id, at);
        }
        if let Some(graph) = &mut self.graph {
            graph.remove(id);
            self.outside.retain(|other| *other != id);
            if self.slots.len() < GRAPH_UNTIL {
                self.drop_graph();
            }
        }
        true
    }

    /// The vector nearest to `query`, and its cosine.
    #[must_use]
    pub fn nearest(&self, query: &[f32]) -> Option<(u64, f32)> {
        self.nearest_k(query, 1).first().copied()
    }

    /// The `k` vectors nearest to `query` and their cosines, the nearest first. Exact up to
    /// [`GRAPH_FROM`] vectors, nearly so beyond; a set that shrank is exact again below
    /// [`GRAPH_UNTIL`]. Empty when `query` is no vector of this model.
    #[must_use]
    pub fn nearest_k(&self, query: &[f32], k: usize) -> Vec<(u64, f32)> {
        if k == 0 || query.len() != DIMENSIONS || !query.iter().all(|x| x.is_finite()) {
            return Vec::new();
        }
        let score = |slot: &Slot| (slot.id, dot(query, &slot.vector));
        let mut found: Vec<(u64, f32)> = match &self.graph {
            Some(graph) if self.outside.is_empty() => {
                let ids = graph.candidates(query, RESCORED_MIN.max(k.saturating_mul(4)));
                let slots = ids
                    .iter()
                    .filter_map(|id| self.slots.get(*self.places.get(id)?));
                slots.map(score).collect()
            }
            _ => self.slots.iter().map(score).collect(),
        };
        if k < found.len() {
            found.select_nth_unstable_by(k, nearer);
            found.truncate(k);
        }
        found.sort_unstable_by(nearer);
        found
    }

    /// Vectors held.
    #[must_use]
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Memory held, in bytes, the full vectors included even where others share them.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        // An Arc's two counts come with each vector, a control byte with each place in the map.
        let vector = DIMENSIONS * size_of::<f32>() + 2 * size_of::<usize>();
        self.slots.len() * vector
            + self.slots.capacity() * size_of::<Slot>()
            + self.places.capacity() * (size_of::<(u64, usize)>() + 1)
            + self.outside.capacity() * size_of::<u64>()
            + self.graph.as_ref().map_or(0, Graph::memory_bytes)
    }

    /// Begins the graph where there is none, and brings it forward by the new vector and a few old
    /// ones: building it at once would hold the index for a tenth of a second.
    fn grow_graph(&mut self, new: u64) -> Result<(), String> {
        let graph = match &mut self.graph {
            Some(graph) => graph,
            none => {
                let ids = self.slots.iter().map(|slot| slot.id);
                self.outside = ids.filter(|id| *id != new).collect();
                none.insert(Graph::new(GRAPH_FROM * 2)?)
            }
        };
        let rest = self.outside.len().saturating_sub(CATCH_UP);
        for id in self.outside.drain(rest..).chain([new]) {
            if let Some(slot) = self.places.get(&id).and_then(|at| self.slots.get(*at)) {
                graph.add(id, &slot.vector)?;
            }
        }
        Ok(())
    }

    fn drop_graph(&mut self) {
        self.graph = None;
        self.outside = Vec::new();
    }
}

/// Orders by similarity, the nearest first; of two at one distance, the older.
fn nearer(a: &(u64, f32), b: &(u64, f32)) -> Ordering {
    b.1.total_cmp(&a.1).then(a.0.cmp(&b.0))
}

#[cfg(test)]
#[path = "index_tests.rs"]
mod tests;
