//! The nearest of a set of vectors: by an exact scan while there are few, by a graph beyond.
//!
//! One byte per component is all that is kept ([`Code`]). Whatever proposes candidates, the similarity
//! given out is the cosine of the question's full vector to the code, within about a thousandth.
//!
//! Must not know: what the ids stand for.

use crate::embedding::codes::{Code, QueryVector, with_wide_registers};
use crate::embedding::graph::Graph;
use crate::embedding::pool::DIMENSIONS;
use std::cmp::Ordering;
use std::collections::HashMap;

/// A graph is begun at this size; up to here, a scan takes about 0.1 ms.
pub const GRAPH_FROM: usize = 2048;
/// The graph is given up at this size: well below, so that a set near the limit does not swing.
pub const GRAPH_UNTIL: usize = GRAPH_FROM / 2;
/// Older vectors taken into an unfinished graph with each insertion: all of them, in time.
const CATCH_UP: usize = 4;
/// Candidates that the graph is asked for at least, to be compared again.
const RESCORED_MIN: usize = 16;
/// Tables grow by this part of what they hold: doubling would leave a quarter of the memory unused.
const GROWTH: usize = 8;

/// Vectors by id.
#[derive(Default)]
pub struct VectorIndex {
    ids: Vec<u64>,
    /// In the order of `ids`; empty once the graph holds them all.
    codes: Vec<Code>,
    /// Where in `ids` each one is.
    places: HashMap<u64, u32, foldhash::fast::RandomState>,
    graph: Option<Graph>,
    /// Ids that the graph has yet to take; it answers once there are none.
    outside: Vec<u64>,
    /// usearch failed once: scanning is slower, but right.
    no_graph: bool,
}

impl VectorIndex {
    /// An empty index.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a vector, at the end, under an id that is not there yet.
    pub fn insert(&mut self, id: u64, code: &Code) {
        debug_assert!(!self.places.contains_key(&id));
        let place = u32::try_from(self.ids.len()).unwrap_or(u32::MAX);
        self.places.insert(id, place);
        push(&mut self.ids, id);
        if self.is_in_graph() {
            let added = self.graph.as_mut().map(|graph| graph.add(id, code));
            if added.is_some_and(|added| added.is_err()) {
                self.no_graph = true;
                self.drop_graph();
                if let Some(last) = self.codes.last_mut() {
                    *last = *code;
                }
            }
            return;
        }
        push(&mut self.codes, *code);
        if (self.graph.is_some() || self.ids.len() >= GRAPH_FROM)
            && !self.no_graph
            && self.grow_graph(id).is_err()
        {
            self.no_graph = true;
            self.drop_graph();
        }
    }

    /// Removes a vector and tells where it was; the last one is there now.
    pub fn remove(&mut self, id: u64) -> Option<usize> {
        let place = self.places.remove(&id)?;
        let at = place as usize;
        self.ids.swap_remove(at);
        if let Some(moved) = self.ids.get(at) {
            self.places.insert(*moved, place);
        }
        if at < self.codes.len() {
            self.codes.swap_remove(at);
        }
        if let Some(graph) = &mut self.graph {
            graph.remove(id);
            self.outside.retain(|other| *other != id);
            if self.ids.len() < GRAPH_UNTIL {
                self.drop_graph();
            } else if self.outside.is_empty() {
                self.codes = Vec::new();
            }
        }
        self.give_back();
        Some(at)
    }

    /// Where the vector of `id` is, in the order of insertion, changed by removals.
    #[must_use]
    pub fn place(&self, id: u64) -> Option<usize> {
        self.places.get(&id).map(|place| *place as usize)
    }

    /// The vector nearest to `query`, and its cosine.
    #[must_use]
    pub fn nearest(&self, query: &[f32]) -> Option<(u64, f32)> {
        self.nearest_k(query, 1).first().copied()
    }

    /// The `k` vectors nearest to `query` and their cosines, the nearest first. Complete up to
    /// [`GRAPH_FROM`] vectors, nearly so beyond; a set that shrank is complete again below
    /// [`GRAPH_UNTIL`]. Empty when `query` is no vector of this model.
    #[must_use]
    pub fn nearest_k(&self, query: &[f32], k: usize) -> Vec<(u64, f32)> {
        if k == 0 || query.len() != DIMENSIONS || !query.iter().all(|x| x.is_finite()) {
            return Vec::new();
        }
        let length = query.iter().map(|x| x * x).sum::<f32>().sqrt();
        let asked = QueryVector::new(query, length);
        let mut found: Vec<(u64, f32)> = match &self.graph {
            Some(graph) if self.outside.is_empty() => {
                let ids = graph.candidates(query, RESCORED_MIN.max(k.saturating_mul(4)));
                let codes = ids.iter().filter_map(|id| Some((*id, graph.code(*id)?)));
                codes.map(|(id, code)| (id, code.cosine(&asked))).collect()
            }
            _ => {
                let all = self.ids.iter().zip(&self.codes);
                with_wide_registers(
                    #[inline(always)]
                    || all.map(|(id, code)| (*id, code.cosine(&asked))).collect(),
                )
            }
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
        self.ids.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// Memory held, in bytes.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        // A control byte comes with each place in the map, and an eighth of the places stays free.
        let slots = self.places.capacity() * 8 / 7;
        self.ids.capacity() * size_of::<u64>()
            + self.codes.capacity() * size_of::<Code>()
            + slots * (size_of::<(u64, u32)>() + 1)
            + self.outside.capacity() * size_of::<u64>()
            + self.graph.as_ref().map_or(0, Graph::memory_bytes)
    }

    /// Whether the graph is complete, and alone has the codes.
    fn is_in_graph(&self) -> bool {
        self.graph.is_some() && self.outside.is_empty()
    }

    /// Begins the graph where there is none, and brings it forward by the new vector and a few old
    /// ones: building it at once would hold the index for a tenth of a second.
    fn grow_graph(&mut self, new: u64) -> Result<(), String> {
        let graph = match &mut self.graph {
            Some(graph) => graph,
            none => {
                let ids = self.ids.iter().copied();
                self.outside = ids.filter(|id| *id != new).collect();
                none.insert(Graph::new(GRAPH_FROM * 3 / 2)?)
            }
        };
        let rest = self.outside.len().saturating_sub(CATCH_UP);
        for id in self.outside.drain(rest..).chain([new]) {
            let place = self.places.get(&id).map(|place| *place as usize);
            if let Some(code) = place.and_then(|at| self.codes.get(at)) {
                graph.add(id, code)?;
            }
        }
        if self.outside.is_empty() {
            self.outside = Vec::new();
            self.codes = Vec::new();
        }
        Ok(())
    }

    /// Goes back to scanning.
    fn drop_graph(&mut self) {
        if let Some(graph) = self.graph.take().filter(|_| self.outside.is_empty()) {
            // What usearch does not give back is near to nothing.
            let none = Code::from_bytes(&[0; DIMENSIONS]);
            let codes = self.ids.iter().map(|id| graph.code(*id).unwrap_or(none));
            self.codes = codes.collect();
        }
        self.outside = Vec::new();
    }

    /// Gives memory back once half of it is unused.
    fn give_back(&mut self) {
        let len = self.ids.len();
        if self.ids.capacity() > 2 * len + GROWTH {
            self.ids.shrink_to(len + len / GROWTH);
            self.codes.shrink_to(len + len / GROWTH);
            self.places.shrink_to(len);
        }
    }
}

/// Appends, and makes little more room than is needed.
pub fn push<T>(all: &mut Vec<T>, one: T) {
    if all.len() == all.capacity() {
        all.reserve_exact(all.len() / GROWTH + 1);
    }
    all.push(one);
}

/// Orders by similarity, the nearest first; of two at one distance, the older.
fn nearer(a: &(u64, f32), b: &(u64, f32)) -> Ordering {
    b.1.total_cmp(&a.1).then(a.0.cmp(&b.0))
}

#[cfg(test)]
#[path = "index_tests.rs"]
mod tests;
