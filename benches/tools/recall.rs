//! Measures the recall of the vector index against brute-force search, on real questions.
//!
//! Arguments: the model's folder and a file of JSON lines with `query`. The first texts are
//! stored; then half of them are replaced by others, one by one; the remaining texts are the queries.
//! The reference is the nearest by the full vectors. Prints recall, the error of the similarities, bytes and
//! time, for sets searched by scan and by graph.

use ringside::embedding::codes::{Code, dot};
use ringside::embedding::index::VectorIndex;
use ringside::embedding::pool::EmbeddingPool;
use ringside::embedding::settings::Settings;
use ringside::embedding::status::ModelState;
use ringside::embedding::vector::Vector;
use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::mpsc;
use std::time::{Duration, Instant};

#[derive(serde::Deserialize)]
struct Request {
    query: String,
}

/// Queries of each set.
const QUERIES: usize = 1000;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(folder), Some(file)) = (arguments.next(), arguments.next()) else {
        return Err("usage: recall MODEL_DIR TEXTS.jsonl".into());
    };
    let (mut seen, mut texts) = (HashSet::new(), Vec::new());
    for line in std::fs::read_to_string(file)?.lines() {
        let request: Request = serde_json::from_str(line)?;
        if seen.insert(request.query.clone()) {
            texts.push(request.query);
        }
    }
    let vectors = embed(&texts, PathBuf::from(folder))?;
    println!(
        "| stored | recall@1 | within 0.001 | similarity off by, mean, most | bytes each | p50 |"
    );
    println!("|---|---|---|---|---|---|");
    for stored in [1000, 2000, 5000, 10_000] {
        if vectors.len() >= stored * 3 / 2 + QUERIES {
            measure(&vectors, stored);
        }
    }
    Ok(())
}

fn measure(vectors: &[Vector], stored: usize) {
    let mut index = VectorIndex::new();
    let mut live = Vec::new();
    let store = |index: &mut VectorIndex, live: &mut Vec<usize>, at: usize| {
        index.insert(at as u64, &Code::new(&vectors[at]));
        live.push(at);
    };
    (0..stored).for_each(|at| store(&mut index, &mut live, at));
    for at in stored..stored * 3 / 2 {
        // Positions far apart, so that old and new entries are removed alike.
        let gone = live.swap_remove(at.wrapping_mul(7919) % live.len());
        index.remove(gone as u64);
        store(&mut index, &mut live, at);
    }
    let (mut right, mut near, mut off, mut most) = (0u32, 0u32, 0.0f64, 0.0f64);
    let mut times = Vec::new();
    for query in vectors.iter().skip(stored * 3 / 2).take(QUERIES) {
        let began = Instant::now();
        let found = index.nearest(query);
        times.push(began.elapsed());
        let Some(found) = found else {
            continue;
        };
        let all = live.iter().map(|at| (*at, dot(query, &vectors[*at])));
        let Some((best, cosine)) = all.max_by(|a, b| a.1.total_cmp(&b.1)) else {
            continue;
        };
        let exact = dot(query, &vectors[found.id as usize]);
        right += u32::from(best == found.id as usize);
        near += u32::from(exact >= cosine - 0.001);
        let error = f64::from((found.cosine - exact).abs());
        off += error;
        most = most.max(error);
    }
    times.sort_unstable();
    let queries = times.len() as f64;
    println!(
        "| {stored} | {:.4} | {:.4} | {:.5}, {most:.5} | {} | {:?} |",
        f64::from(right) / queries,
        f64::from(near) / queries,
        off / queries,
        index.memory_bytes() / index.len(),
        times
            .get(times.len() / 2)
            .copied()
            .unwrap_or(Duration::ZERO),
    );
}

fn embed(texts: &[String], model_dir: PathBuf) -> Result<Vec<Vector>, Box<dyn std::error::Error>> {
    let embedding_pool = EmbeddingPool::start(Settings {
        model_dir,
        threads: 2,
        queue_max: 256,
        runtime_library: None,
    });
    while !embedding_pool.is_ready() {
        if let ModelState::Failed(why) = embedding_pool.model_state() {
            return Err(why.into());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let mut vectors = Vec::with_capacity(texts.len());
    for batch in texts.chunks(128) {
        let (send, receive) = mpsc::channel();
        for text in batch {
            let send = send.clone();
            let _ = embedding_pool.embed(text.clone(), None, move |outcome| {
                let _ = send.send(outcome.ok().map(|embedded| embedded.vector));
            });
        }
        drop(send);
        vectors.extend(receive.iter().flatten());
    }
    Ok(vectors)
}
