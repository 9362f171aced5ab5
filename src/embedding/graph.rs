//! The large index: a usearch graph over one-byte codes, which finds candidates to compare in full.
//!
//! usearch is used for what it does reliably: adding, removing and plain searching, one writer at a
//! time. Filtered search and memory-mapped views have corrupted results and are not used.
//!
//! Must not know: the full vectors, or when a graph is worth its memory.

use super::DIMENSIONS;
use super::codes::code;
use usearch::{Index, IndexOptions, MetricKind, ScalarKind};

/// Neighbours per node (M): what usearch and hnswlib suggest for hundreds of dimensions.
const CONNECTIVITY: usize = 16;
/// Candidates kept while adding and while searching: recall@1 above 0.99 at 50,000 vectors.
const EXPANSION_ADD: usize = 128;
const EXPANSION_SEARCH: usize = 128;

/// A graph over ids and codes.
pub struct Graph {
    index: Index,
}

impl Graph {
    /// An empty graph with room for `capacity` vectors.
    ///
    /// # Errors
    /// usearch could not allocate.
    pub fn new(capacity: usize) -> Result<Self, String> {
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
        index.reserve(capacity).map_err(|error| error.to_string())?;
        Ok(Self { index })
    }

    /// Adds a vector under an id that is not in the graph.
    ///
    /// # Errors
    /// usearch could not allocate.
    pub fn add(&mut self, id: u64, vector: &[f32]) -> Result<(), String> {
        // Removed nodes are reused, but only once their place is known to be free: keep one spare.
        if self.index.size() + 1 >= self.index.capacity() {
            let room = self.index.capacity() * 2;
            self.index
                .reserve(room)
                .map_err(|error| error.to_string())?;
        }
        self.index
            .add(id, &code(vector)[..])
            .map_err(|error| error.to_string())
    }

    /// Removes an id, if it is there.
    pub fn remove(&mut self, id: u64) {
        // Fails only for an index opened as a view.
        let _ = self.index.remove(id);
    }

    /// The ids of the `count` vectors that seem nearest to `query`; none where usearch fails.
    pub fn candidates(&self, query: &[f32], count: usize) -> Vec<u64> {
        let found = self.index.search(&code(query)[..], count);
        found.map(|matches| matches.keys).unwrap_or_default()
    }

    /// Memory held, in bytes.
    pub fn memory_bytes(&self) -> usize {
        self.index.memory_usage()
    }
}
