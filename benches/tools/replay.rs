//! Replays labelled traffic through the cache's decisions, and counts hits and wrong hits.
//!
//! Arguments: the model's folder and a file of JSON lines with `query`, `answer_id`, `tenant`, `src`,
//! `strict`. Cold start; a request that is no hit is stored. An exact hit is the same text of the same
//! tenant. A semantic hit is wrong when the ids differ; wrong hits are counted for requests with `strict`.
//! Prints a table for several rates of wrong hits and, for comparison, for plain cosine thresholds.

use ringside::cache::verify::features::compare;
use ringside::cache::verify::model::Verifier;
use ringside::cache::verify::verify::Query;
use ringside::cache::verify::words::Words;
use ringside::embedding::pool::EmbeddingPool;
use ringside::embedding::settings::Settings;
use ringside::embedding::static_index::StaticIndex;
use ringside::embedding::status::ModelState;
use ringside::embedding::table::StaticTable;
use ringside::embedding::vector::Vector;
use std::collections::{BTreeMap, HashSet};
use std::path::PathBuf;
use std::sync::{Arc, mpsc};
use std::time::Instant;

#[derive(serde::Deserialize)]
struct Request {
    query: String,
    answer_id: String,
    tenant: u32,
    src: String,
    strict: bool,
}

/// As in the gateway: neighbours that are verified, and the least cosine.
const NEIGHBOURS: usize = 4;
const SIMILARITY_FLOOR: f32 = 0.6;

struct Rule {
    name: String,
    serves: Box<dyn Fn(f32, Option<f32>) -> bool>,
}

/// An earlier request of the same tenant.
struct Neighbour {
    /// Its position in the traffic.
    position: usize,
    cosine: f32,
    /// `None` when a hard rule excludes the pair.
    score: Option<f32>,
}

/// The neighbours of a request, the nearest first.
type Near = Vec<Neighbour>;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(folder), Some(file)) = (arguments.next(), arguments.next()) else {
        return Err("usage: replay MODEL_DIR STREAM.jsonl".into());
    };
    let text = std::fs::read_to_string(&file).map_err(|error| {
        format!("{file}: {error}: labelled traffic is not part of this repository")
    })?;
    let requests = text
        .lines()
        .map(serde_json::from_str)
        .collect::<Result<Vec<Request>, _>>()?;
    let verifier = Verifier::shipped()?;
    let table = Arc::new(StaticTable::read(
        &std::fs::read(PathBuf::from(&folder).join("static.bin"))?,
        &std::fs::read(PathBuf::from(&folder).join("tokenizer.json"))?,
    )?);
    certain_misses(&requests, &table, verifier.static_floor)?;
    let near = neighbours(&requests, PathBuf::from(folder), &table, verifier)?;
    let mut rules = Vec::new();
    for rate in [0.01, 0.02, 0.05] {
        let least = verifier.score_for(rate).ok_or("no score for that rate")?;
        rules.push(Rule {
            name: format!("wrong_hit_rate_max {rate} (score {least:.3})"),
            serves: Box::new(move |_, score| score.is_some_and(|score| score >= least)),
        });
    }
    for least in [0.90, 0.95, 0.97, 0.98, 0.99] {
        rules.push(Rule {
            name: format!("cosine {least} alone"),
            serves: Box::new(move |cosine, _| cosine >= least),
        });
    }
    println!("| rule | exact | semantic | strict | wrong | share | wrong by source |");
    println!("|---|---|---|---|---|---|---|");
    for rule in rules {
        replay(&requests, &near, &rule);
    }
    Ok(())
}

fn replay(requests: &[Request], near: &[Near], rule: &Rule) {
    let mut stored: HashSet<usize> = HashSet::new();
    let mut texts: HashSet<(u32, &str)> = HashSet::new();
    let (mut exact, mut hits, mut strict, mut wrong) = (0u32, 0u32, 0u32, 0u32);
    let mut by_source: BTreeMap<&str, u32> = BTreeMap::new();
    for (at, request) in requests.iter().enumerate() {
        if texts.contains(&(request.tenant, request.query.as_str())) {
            exact += 1;
            continue;
        }
        let candidates = near[at]
            .iter()
            .filter(|neighbour| stored.contains(&neighbour.position));
        let hit = candidates
            .take(NEIGHBOURS)
            .find(|neighbour| (rule.serves)(neighbour.cosine, neighbour.score));
        let Some(neighbour) = hit else {
            stored.insert(at);
            texts.insert((request.tenant, &request.query));
            continue;
        };
        hits += 1;
        if request.strict {
            strict += 1;
            if requests[neighbour.position].answer_id != request.answer_id {
                wrong += 1;
                *by_source.entry(&request.src).or_default() += 1;
            }
        }
    }
    println!(
        "| {} | {exact} | {hits} | {strict} | {wrong} | {:.4} | {by_source:?} |",
        rule.name,
        f64::from(wrong) / f64::from(strict.max(1)),
    );
}

/// Fills one scope with the first requests, looks the others up by static vectors, and prints how many
/// are certain misses and how long a look-up takes.
fn certain_misses(
    requests: &[Request],
    table: &Arc<StaticTable>,
    floor: f32,
) -> Result<(), Box<dyn std::error::Error>> {
    const STORED: usize = 10_000;
    let code = |request: &Request| Query::read(&request.query, table)?.code();
    let mut index = StaticIndex::default();
    let mut stored = 0;
    for request in requests.iter().take(STORED) {
        if let Some(code) = code(request) {
            index.insert(&code);
            stored += 1;
        }
    }
    let mut times = Vec::new();
    let mut missed = 0;
    for request in requests.iter().skip(STORED) {
        let began = Instant::now();
        let near = code(request).is_some_and(|code| index.reaches(&code, floor));
        if !near {
            times.push(began.elapsed());
            missed += 1;
        }
    }
    times.sort_unstable();
    let at = |share: usize| times.get(times.len() * share / 100).copied();
    println!(
        "one scope of {} entries, floor {floor}: {missed} of {} look-ups are certain misses; \
         question read and scope scanned in p50 {:?}, p99 {:?}",
        stored,
        requests.len().saturating_sub(STORED),
        at(50).ok_or("no certain miss")?,
        at(99).ok_or("no certain miss")?,
    );
    Ok(())
}

fn neighbours(
    requests: &[Request],
    folder: PathBuf,
    table: &StaticTable,
    verifier: &Verifier,
) -> Result<Vec<Near>, Box<dyn std::error::Error>> {
    let vectors = embed(requests, folder)?;
    let mut near = Vec::with_capacity(requests.len());
    let (mut verified, mut took) = (0u32, std::time::Duration::ZERO);
    for (at, request) in requests.iter().enumerate() {
        let mut found: Near = Vec::new();
        if let Some(vector) = &vectors[at] {
            for (position, earlier) in requests[..at].iter().enumerate() {
                if earlier.tenant != request.tenant || earlier.query == request.query {
                    continue;
                }
                let Some(other) = &vectors[position] else {
                    continue;
                };
                let cosine: f32 = vector.iter().zip(other.iter()).map(|(x, y)| x * y).sum();
                if cosine >= SIMILARITY_FLOOR {
                    found.push(Neighbour {
                        position,
                        cosine,
                        score: None,
                    });
                }
            }
        }
        found.sort_by(|a, b| b.cosine.total_cmp(&a.cosine));
        // More than are verified, because some requests are hits and are not stored.
        found.truncate(10 * NEIGHBOURS);
        let began = Instant::now();
        verified += u32::try_from(found.len())?;
        if let Some(query) = Words::read(&request.query, table) {
            for neighbour in &mut found {
                let stored = Words::read(&requests[neighbour.position].query, table);
                neighbour.score = stored.and_then(|stored| {
                    let features = compare(&query, &stored, neighbour.cosine, table).ok()?;
                    Some(verifier.score(&features))
                });
            }
        }
        took += began.elapsed();
        near.push(found);
    }
    let each_us = took.as_secs_f64() * 1e6 / f64::from(verified.max(1));
    println!("{verified} candidates verified, {each_us:.1} µs each, both questions read\n");
    Ok(near)
}

fn embed(
    requests: &[Request],
    model_dir: PathBuf,
) -> Result<Vec<Option<Vector>>, Box<dyn std::error::Error>> {
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
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let mut vectors = Vec::with_capacity(requests.len());
    for batch in requests.chunks(128) {
        let waiting: Vec<_> = batch
            .iter()
            .map(|request| {
                let (send, receive) = mpsc::sync_channel(1);
                let queued = embedding_pool.embed(request.query.clone(), None, move |outcome| {
                    let _ = send.send(outcome.ok().map(|embedded| embedded.vector));
                });
                queued.map(|()| receive)
            })
            .collect();
        for receive in waiting {
            vectors.push(
                receive
                    .ok()
                    .and_then(|receiver| receiver.recv().ok().flatten()),
            );
        }
    }
    Ok(vectors)
}
