//! A usearch graph over one-byte codes: proposes candidates, whose similarity the caller computes.
//!
//! The graph holds the only copy of its codes: a second copy would double the memory of an index.
//!
//! Only the reliable functions of usearch are used: add, remove and plain search, with one writer at a
//! time. Filtered search and memory-mapped views have returned corrupted results.
//!
//! It must not know at which size a graph replaces a scan.

use crate::embedding::codes;
use crate::embedding::codes::{CODE_BYTES, Code};
use crate::embedding::vector::DIMENSIONS;
use usearch::{Index, IndexOptions, MetricKind, ScalarKind};

/// Neighbours per node (M): what usearch and hnswlib suggest for hundreds of dimensions.
const CONNECTIVITY: usize = 16;
/// Candidates that usearch considers while it adds and searches: recall@1 above 0.99 at 50,000 vectors.
const EXPANSION_ADD: usize = 128;
const EXPANSION_SEARCH: usize = 128;
/// The owner uses a graph from one thread at a time; usearch reserves memory for each thread.
const THREADS: usize = 1;
/// A full graph grows by its capacity divided by this.
const GROWTH_DIVISOR: usize = 8;

pub(crate) struct Graph {
    index: Index,
}

impl Graph {
    /// An empty graph with room for `capacity` vectors.
    ///
    /// # Errors
    /// usearch could not allocate.
    pub(crate) fn new(capacity: usize) -> Result<Self, String> {
        let options = IndexOptions {
            dimensions: DIMENSIONS,
            // The scales of codes differ; of the metrics only the cosine does not depend on them.
            metric: MetricKind::Cos,
            quantization: ScalarKind::I8,
            connectivity: CONNECTIVITY,
            expansion_add: EXPANSION_ADD,
            expansion_search: EXPANSION_SEARCH,
            multi: false,
        };
        let index = Index::new(&options).map_err(|error| error.to_string())?;
        let graph = Self { index };
        graph.reserve(capacity)?;
        Ok(graph)
    }

    fn reserve(&self, capacity: usize) -> Result<(), String> {
        let reserved = self.index.reserve_capacity_and_threads(capacity, THREADS);
        reserved.map_err(|error| error.to_string())
    }

    /// Adds a code under an id that is not in the graph.
    ///
    /// # Errors
    /// usearch could not allocate.
    pub(crate) fn add(&mut self, id: u64, code: &Code) -> Result<(), String> {
        // usearch reuses a removed node late, so the capacity always has one spare node.
        if self.index.size() + 1 >= self.index.capacity() {
            let capacity = self.index.capacity();
            self.reserve(capacity + capacity / GROWTH_DIVISOR)?;
        }
        self.index
            .add(id, &code.to_bytes()[..])
            .map_err(|error| error.to_string())
    }

    pub(crate) fn code(&self, id: u64) -> Option<Code> {
        let mut bytes = [0; CODE_BYTES];
        let found = self.index.get(id, &mut bytes[..]).ok()?;
        (found == 1).then(|| Code::from_bytes(&bytes))
    }

    /// Removes an id, if the graph has it.
    pub(crate) fn remove(&mut self, id: u64) {
        let removed = self.index.remove(id);
        debug_assert!(
            removed.is_ok(),
            "usearch refuses removals only for an index opened as a view"
        );
    }

    /// The ids of the `count` vectors that the graph finds nearest to `query`; empty when usearch fails.
    pub(crate) fn candidates(&self, query: &[f32], count: usize) -> Vec<u64> {
        let query: [i8; CODE_BYTES] = codes::bytes(query);
        let found = self.index.search(&query[..], count);
        found.map(|matches| matches.keys).unwrap_or_default()
    }

    /// Memory held, in bytes. usearch maps at least 8 MiB and fills them gradually: pages that it has not
    /// touched take no memory and are not counted.
    pub(crate) fn memory_bytes(&self) -> usize {
        let stats = self.index.memory_stats();
        let untouched = stats.graph_reserved + stats.vectors_reserved;
        self.index.memory_usage().saturating_sub(untouched)
    }
}
