//! The nearest of a set of vectors: by an exact scan while there are few, by a graph beyond.
//!
//! Whatever proposes candidates, the similarity given out is the cosine of the full vectors. Must not
//! know: what the ids stand for.

use super::codes::{Codes, dot};
use super::graph::Graph;
use super::{DIMENSIONS, Vector};
use std::collections::HashMap;

/// A graph is begun at this size; up to here, a scan takes about 70 µs.
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
    /// One for each slot; empty while the graph answers.
    codes: Codes,
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
        let was_scanning = self.is_scanning();
        self.places.insert(id, self.slots.len());
        self.slots.push(Slot {
            id,
            vector: Vector::clone(vector),
        });
        if was_scanning {
            self.codes.push(vector);
        }
        self.grow_graph(id);
    }

    /// Removes a vector; whether there was one.
    pub fn remove(&mut self, id: u64) -> bool {
        let Some(at) = self.places.remove(&id) else {
            return false;
        };
        if self.is_scanning() {
            self.codes.swap_remove(at);
        }
        self.slots.swap_remove(at);
        if let Some(moved) = self.slots.get(at) {
            self.places.insert(moved.id, at);
        }
        if let Some(graph) = &mut self.graph {
            graph.remove(id);
            self.outside.retain(|other| *other != id);
            if self.slots.len() < GRAPH_UNTIL {
                self.scan_only();
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
        let places: Vec<usize> = match &self.graph {
            Some(graph) if !self.is_scanning() => {
                let ids = graph.candidates(query, RESCORED_MIN.max(k * 4));
                ids.iter()
                    .filter_map(|id| self.places.get(id).copied())
                    .collect()
            }
            _ => self.codes.candidates(query, k),
        };
        let slots = places.into_iter().filter_map(|at| self.slots.get(at));
        let mut found: Vec<_> = slots
            .map(|slot| (slot.id, dot(query, &slot.vector)))
            .collect();
        found.sort_unstable_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        found.truncate(k);
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
        let vector = DIMENSIONS * size_of::<f32>() + 2 * size_of::<usize>();
        self.slots.len() * vector
            + self.slots.capacity() * size_of::<Slot>()
            + self.places.capacity() * size_of::<(u64, usize, u8)>()
            + self.codes.memory_bytes()
            + self.graph.as_ref().map_or(0, Graph::memory_bytes)
    }

    fn is_scanning(&self) -> bool {
        self.graph.is_none() || !self.outside.is_empty()
    }

    /// Begins the graph when it is time, and brings it forward by the new vector and a few old ones:
    /// building it at once would hold the index for a tenth of a second.
    fn grow_graph(&mut self, id: u64) {
        if self.no_graph || (self.graph.is_none() && self.slots.len() < GRAPH_FROM) {
            return;
        }
        let taken = self.take_into_graph(id);
        if taken.is_err() {
            self.no_graph = true;
            self.scan_only();
        } else if !self.is_scanning() {
            self.codes = Codes::default();
        }
    }

    fn take_into_graph(&mut self, id: u64) -> Result<(), String> {
        let graph = match &mut self.graph {
            Some(graph) => graph,
            empty => {
                self.outside = self.slots.iter().map(|slot| slot.id).collect();
                self.outside.retain(|other| *other != id);
                empty.insert(Graph::new(GRAPH_FROM * 2)?)
            }
        };
        let old = self.outside.len().saturating_sub(CATCH_UP);
        for id in self.outside.drain(old..).chain([id]) {
            if let Some(slot) = self.places.get(&id).and_then(|at| self.slots.get(*at)) {
                graph.add(id, &slot.vector)?;
            }
        }
        Ok(())
    }

    /// Gives the graph up.
    fn scan_only(&mut self) {
        self.graph = None;
        self.outside = Vec::new();
        self.codes = Codes::default();
        for slot in &self.slots {
            self.codes.push(&slot.vector);
        }
    }
}

#[cfg(test)]
#[path = "index_tests.rs"]
mod tests;
