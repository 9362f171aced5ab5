//! The large index: a usearch graph over one-byte codes, which finds candidates to be compared again.
//!
//! It holds the only copy of its codes: keeping them outside too would cost as much as all the rest.
//!
//! usearch is used for what it does reliably: adding, removing and plain searching, one writer at a
//! time. Filtered search and memory-mapped views have corrupted results and are not used.
//!
//! Must not know: when a graph is worth its memory.

use crate::embedding::codes;
use crate::embedding::codes::{CODE_BYTES, Code};
use crate::embedding::pool::DIMENSIONS;
use usearch::{Index, IndexOptions, MetricKind, ScalarKind};

/// Neighbours per node (M): what usearch and hnswlib suggest for hundreds of dimensions.
const CONNECTIVITY: usize = 16;
/// Candidates kept while adding and while searching: recall@1 above 0.99 at 50,000 vectors.
const EXPANSION_ADD: usize = 128;
const EXPANSION_SEARCH: usize = 128;
/// Its owner uses it from one thread at a time; usearch keeps memory for each thread.
const THREADS: usize = 1;
/// Room is added by this part of what there is.
const GROWTH: usize = 8;

/// A graph over ids and codes.
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
            // The codes' scales differ, and only the cosine does not mind.
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
        // Removed nodes are reused, but only once their place is known to be free: keep one spare.
        if self.index.size() + 1 >= self.index.capacity() {
            let capacity = self.index.capacity();
            self.reserve(capacity + capacity / GROWTH)?;
        }
        self.index
            .add(id, &code.to_bytes()[..])
            .map_err(|error| error.to_string())
    }

    /// The code of an id.
    pub(crate) fn code(&self, id: u64) -> Option<Code> {
        let mut bytes = [0; CODE_BYTES];
        let found = self.index.get(id, &mut bytes[..]).ok()?;
        (found == 1).then(|| Code::from_bytes(&bytes))
    }

    /// Removes an id, if it is there.
    pub(crate) fn remove(&mut self, id: u64) {
        // Fails only for an index opened as a view.
        let _ = self.index.remove(id);
    }

    /// The ids of the `count` vectors that seem nearest to `query`; none where usearch fails.
    pub(crate) fn candidates(&self, query: &[f32], count: usize) -> Vec<u64> {
        let query: [i8; CODE_BYTES] = codes::bytes(query);
        let found = self.index.search(&query[..], count);
        found.map(|matches| matches.keys).unwrap_or_default()
    }

    /// Memory held, in bytes. usearch maps 8 MiB at least and uses them bit by bit: what it has not
    /// touched yet takes no memory and is not counted.
    pub(crate) fn memory_bytes(&self) -> usize {
        let stats = self.index.memory_stats();
        let untouched = stats.graph_reserved + stats.vectors_reserved;
        self.index.memory_usage().saturating_sub(untouched)
    }
}
