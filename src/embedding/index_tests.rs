//! Tests of the index against brute-force search.

use super::*;
use crate::embedding::codes::dot;
use crate::embedding::vector::Vector;
use std::sync::Arc;

/// Random numbers that are the same in every run (splitmix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound as u64).unwrap()
    }

    fn component(&mut self) -> f32 {
        // A sum of uniform numbers: nearly normally distributed.
        (0..4)
            .map(|_| (self.next() >> 40) as f32 / (1 << 24) as f32 - 0.5)
            .sum()
    }

    /// A random vector near `centre`; the smaller `spread`, the nearer.
    fn near(&mut self, centre: &[f32], spread: f32) -> Vector {
        let raw: Vec<f32> = centre
            .iter()
            .map(|x| x + spread * self.component() / 20.0)
            .collect();
        let length = dot(&raw, &raw).sqrt();
        raw.iter().map(|x| x / length).collect()
    }

    fn vector(&mut self) -> Vector {
        self.near(&[0.0; DIMENSIONS], 1.0)
    }

    /// A vector near a random topic, as the vectors of texts are.
    fn of_topics(&mut self, topics: &[Vector]) -> Vector {
        let topic = Arc::clone(&topics[self.below(topics.len())]);
        self.near(&topic, 1.5)
    }
}

/// Largest error of a code's cosine.
const CODE_ERROR: f32 = 0.001;

#[derive(Default)]
struct Oracle(Vec<(u64, Vector)>);

impl Oracle {
    fn nearest(&self, query: &[f32]) -> (u64, f32) {
        let all = self.0.iter().map(|(id, vector)| (*id, dot(query, vector)));
        all.max_by(|a, b| a.1.total_cmp(&b.1).then(b.0.cmp(&a.0)))
            .unwrap()
    }
}

struct Churn {
    random: Random,
    topics: Vec<Vector>,
    index: VectorIndex,
    oracle: Oracle,
    next_id: u64,
}

impl Churn {
    fn new(seed: u64) -> Self {
        let mut random = Random(seed);
        let topics = (0..50).map(|_| random.vector()).collect();
        Self {
            random,
            topics,
            index: VectorIndex::new(),
            oracle: Oracle::default(),
            next_id: 0,
        }
    }

    fn insert(&mut self) {
        let vector = self.random.of_topics(&self.topics);
        self.next_id += 1;
        self.index.insert(self.next_id, &Code::new(&vector));
        self.oracle.0.push((self.next_id, vector));
    }

    fn remove(&mut self) {
        let at = self.random.below(self.oracle.0.len());
        let (id, _) = self.oracle.0.swap_remove(at);
        assert!(self.index.remove(id).is_some());
        assert!(self.index.remove(id).is_none());
    }

    fn is_scanning(&self) -> bool {
        self.index.graph.is_none() || !self.index.not_in_graph.is_empty()
    }

    /// Share of queries whose nearest vector is found. Every vector that is found must be in the index, with its cosine.
    fn recall(&mut self, queries: usize) -> f64 {
        assert_eq!(self.index.len(), self.oracle.0.len());
        let mut right = 0;
        for _ in 0..queries {
            let query = self.random.of_topics(&self.topics);
            let Neighbour { id, cosine } = self.index.nearest(&query).unwrap();
            let (_, live) = self
                .oracle
                .0
                .iter()
                .find(|(other, _)| *other == id)
                .unwrap();
            assert!((cosine - dot(&query, live)).abs() < 0.002);
            // Of two vectors whose cosines differ by less than the error of a code, either counts as the nearest.
            let least = self.oracle.nearest(&query).1 - CODE_ERROR;
            right += usize::from(dot(&query, live) >= least);
        }
        right as f64 / queries as f64
    }
}

#[test]
fn a_scan_is_exact() {
    let mut churn = Churn::new(1);
    assert!(churn.index.nearest(&churn.topics[0]).is_none());
    while churn.index.len() < GRAPH_FROM - 1 {
        churn.insert();
        if churn.next_id.is_multiple_of(3) {
            churn.remove();
        }
    }
    assert!(churn.is_scanning());
    assert!((churn.recall(500) - 1.0).abs() < f64::EPSILON);
    let query = churn.random.of_topics(&churn.topics);
    let mut all: Vec<_> = churn
        .oracle
        .0
        .iter()
        .map(|(id, v)| (*id, dot(&query, v)))
        .collect();
    all.sort_by(|a, b| b.1.total_cmp(&a.1));
    for (found, exact) in churn.index.nearest_k(&query, 10).iter().zip(&all) {
        assert!((found.cosine - exact.1).abs() < CODE_ERROR);
    }
    assert_eq!(churn.index.nearest_k(&query, usize::MAX).len(), all.len());
}

#[test]
fn a_graph_finds_nearly_all_vectors_during_growth_churn_and_shrinking() {
    let mut churn = Churn::new(2);
    let mut was_scanning = 0;
    while churn.index.len() < 5000 {
        churn.insert();
        was_scanning += usize::from(churn.is_scanning());
    }
    // The graph is built in small steps, and is complete after a quarter more insertions.
    assert!(
        (GRAPH_FROM..GRAPH_FROM + GRAPH_FROM / 3).contains(&was_scanning),
        "{was_scanning}"
    );
    let grown = churn.recall(300);
    assert!(grown >= 0.98, "{grown}");
    for _ in 0..10_000 {
        churn.remove();
        churn.insert();
    }
    assert!(!churn.is_scanning());
    let churned = churn.recall(300);
    assert!(churned >= 0.98, "{churned}");
    while churn.index.len() > GRAPH_UNTIL {
        churn.remove();
    }
    let shrunk = churn.recall(300);
    assert!(shrunk >= 0.98, "{shrunk}");
    let large_bytes = churn.index.memory_bytes();
    churn.remove();
    assert!(churn.is_scanning());
    assert!(churn.index.memory_bytes() < large_bytes);
    assert!((churn.recall(300) - 1.0).abs() < f64::EPSILON);
    while !churn.oracle.0.is_empty() {
        churn.remove();
    }
    assert!(churn.index.is_empty() && churn.index.nearest(&churn.topics[0]).is_none());
}

#[test]
fn vectors_removed_while_the_graph_is_unfinished_are_not_found() {
    let mut churn = Churn::new(3);
    while churn.index.len() < GRAPH_FROM + 100 {
        churn.insert();
    }
    assert!(churn.index.graph.is_some() && churn.is_scanning());
    for _ in 0..1000 {
        churn.remove();
    }
    assert!((churn.recall(100) - 1.0).abs() < f64::EPSILON);
    while churn.index.len() < GRAPH_FROM * 2 {
        churn.insert();
    }
    assert!(!churn.is_scanning());
    let recall = churn.recall(300);
    assert!(recall >= 0.98, "{recall}");
}

#[test]
fn positions_follow_removals() {
    let mut random = Random(4);
    let mut index = VectorIndex::new();
    let mut names = Vec::new();
    for id in 1..=100 {
        index.insert(id, &Code::new(&random.vector()));
        names.push(id);
    }
    for _ in 0..90 {
        let id = names[random.below(names.len())];
        names.swap_remove(index.remove(id).unwrap());
        for (at, id) in names.iter().enumerate() {
            assert_eq!(index.position(*id), Some(at));
        }
    }
}

#[test]
fn a_query_that_is_not_a_vector_of_the_model_finds_nothing() {
    let mut index = VectorIndex::new();
    index.insert(1, &Code::new(&Random(5).vector()));
    assert!(index.nearest(&[1.0]).is_none());
    assert!(index.nearest(&[f32::NAN; DIMENSIONS]).is_none());
    // A zero vector has no direction; a search with it must not fail.
    index.insert(3, &Code::new(&[0.0; DIMENSIONS]));
    assert_eq!(index.nearest_k(&[0.0; DIMENSIONS], 5).len(), 2);
}
