//! Fills the cache as the gateway does, and prints its memory and latencies.
//!
//! Arguments: the model's folder, how many entries, over how many scopes, memory in MiB, and optionally
//! the share of entries that go into the first scope, in percent. Questions are made from a list of
//! words and read as in the gateway. Their vectors are random: running the model for each would take hours,
//! and neither memory nor latency depends on them. Hence only the search with a given vector is timed (`benches/tools/recall.rs` measures
//! whether it finds what is there).

use ringside::base::names::Name;
use ringside::cache::entry::{Entry, NewEntry};
use ringside::cache::key::{HashSecret, Key};
use ringside::cache::pending_removals::PendingRemovals;
use ringside::cache::response::cached_response::CachedResponse;
use ringside::cache::semantic::tier::SemanticTier;
use ringside::cache::store::Store;
use ringside::embedding::pool::EmbeddingPool;
use ringside::embedding::settings::Settings;
use ringside::embedding::status::ModelState;
use ringside::embedding::vector::{DIMENSIONS, Vector};
use ringside::protocols::json::document::Scratch;
use ringside::protocols::request::canonical_request::Canonical;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const WORDS: [&str; 16] = [
    "price",
    "river",
    "engine",
    "doctor",
    "weather",
    "password",
    "train",
    "garden",
    "contract",
    "battery",
    "island",
    "recipe",
    "insurance",
    "museum",
    "protein",
    "satellite",
];
/// Look-ups timed.
const LOOKUPS: u64 = 10_000;

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn vector(&mut self) -> Vector {
        let raw: Vec<f32> = (0..DIMENSIONS)
            .map(|_| (self.next() >> 40) as f32 / (1u64 << 23) as f32 - 1.0)
            .collect();
        let length = raw.iter().map(|x| x * x).sum::<f32>().sqrt();
        raw.iter().map(|x| x / length).collect()
    }
}

struct EntryMaker {
    secret: HashSecret,
    scopes: u64,
    first_percent: u64,
    pending_removals: Arc<PendingRemovals>,
    response: CachedResponse,
}

impl EntryMaker {
    fn key(&self, at: u64) -> Key {
        let mut random = Random(at.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        let is_first = random.next() % 100 < self.first_percent;
        let scope = if is_first {
            0
        } else {
            random.next() % self.scopes
        };
        let word = |random: &mut Random| WORDS[random.next() as usize % WORDS.len()];
        let (a, b, c) = (word(&mut random), word(&mut random), word(&mut random));
        let question = format!("what does the {a} of {b} number {at} cost near a {c}");
        let mut canonical = Canonical::new(&question, Ok(()));
        canonical.extend_scope(b"{}");
        Key::new(&self.secret, &format!("key:{scope}"), 1, canonical)
    }

    fn entry(&self, at: u64) -> Arc<Entry> {
        let new_entry = NewEntry {
            response: self.response.clone(),
            model: Name::new("m"),
            key: None,
            target: Name::new("p/m"),
            stored_at: Instant::now(),
            ttl: Duration::from_secs(3600),
            stale_for: Duration::ZERO,
            indexed: true,
        };
        Arc::new(Entry::new(
            self.key(at),
            new_entry,
            Arc::clone(&self.pending_removals),
        ))
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next();
    let numbers: Vec<u64> = arguments
        .filter_map(|argument| argument.parse().ok())
        .collect();
    let (Some(folder), [entries, scopes, memory, rest @ ..]) = (folder, numbers.as_slice()) else {
        return Err("usage: fill MODEL_DIR ENTRIES SCOPES MEMORY_MIB [FIRST_PERCENT]".into());
    };
    let embedding_pool = EmbeddingPool::start(Settings {
        model_dir: PathBuf::from(folder),
        threads: 1,
        queue_max: 1024,
        runtime_library: None,
    });
    while !embedding_pool.is_ready() {
        if let ModelState::Failed(why) = embedding_pool.model_state() {
            return Err(why.into());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let body = br#"{"id":"1","model":"m","created":1,"choices":[{"index":0,"finish_reason":"stop","message":{"role":"assistant","content":"yes"}}],"usage":{"prompt_tokens":9,"completion_tokens":9}}"#;
    let usage = Some(ringside::protocols::usage::Usage {
        prompt: 9,
        completion: 9,
        ..Default::default()
    });
    let maker = EntryMaker {
        secret: HashSecret::draw()?,
        scopes: (*scopes).max(1),
        first_percent: rest.first().copied().unwrap_or(0),
        pending_removals: Arc::default(),
        response: CachedResponse::from_whole(body, usage, &mut Scratch::default())?,
    };
    let store = Arc::new(Store::new(memory << 20, 1.0));
    let pending_removals = Arc::clone(&maker.pending_removals);
    let semantic = Arc::new(SemanticTier::new(
        embedding_pool.clone(),
        Arc::clone(&store),
        pending_removals,
    ));
    let before = resident();
    let began = Instant::now();
    let mut random = Random(7);
    for at in 0..*entries {
        let entry = maker.entry(at);
        store.insert(Arc::clone(&entry));
        let vector = random.vector();
        while semantic
            .index(&entry, Some(Vector::clone(&vector)))
            .is_err()
        {
            std::thread::sleep(Duration::from_micros(200));
        }
    }
    while embedding_pool.stats().queued > 0 {
        std::thread::sleep(Duration::from_millis(10));
    }
    std::thread::sleep(Duration::from_millis(50));
    let took = began.elapsed();
    semantic.apply_removals();
    report(&store, &semantic, before, took, *entries);
    look_ups(&maker, &store, &semantic, *entries);
    Ok(())
}

fn report(store: &Store, semantic: &SemanticTier, before: u64, took: Duration, entries: u64) {
    let held = store.len() as u64;
    let (scopes, vectors) = semantic.size();
    let grown = resident().saturating_sub(before);
    println!(
        "stored {entries} in {took:.1?}: {held} held, {} evicted",
        store.evicted()
    );
    println!("{scopes} scopes, {vectors} vectors");
    println!(
        "accounted {} MiB of {} MiB, resident {} MiB more than before",
        store.bytes() >> 20,
        store.bytes_max() >> 20,
        grown >> 20,
    );
    println!(
        "per entry: accounted {} bytes, resident {} bytes, all texts included",
        store.bytes() / held.max(1),
        grown / held.max(1),
    );
}

fn look_ups(maker: &EntryMaker, store: &Store, semantic: &Arc<SemanticTier>, entries: u64) {
    let now = Instant::now();
    let mut random = Random(99);
    let (mut hits, mut indexed, mut exact) = (0u64, 0u64, Vec::new());
    for _ in 0..LOOKUPS {
        let key = maker.key(random.next() % entries);
        let began = Instant::now();
        let found = store.get(&key, now);
        exact.push(began.elapsed());
        hits += u64::from(found.is_some());
        // Every entry that is still stored must have its vector in the index.
        indexed += u64::from(found.is_some_and(|entry| semantic.contains(&entry)));
    }
    print_times("exact look-up", &mut exact);
    println!("{hits} of {LOOKUPS} hits; of these, {indexed} have their vector in the index");
    let mut searches = Vec::new();
    for _ in 0..LOOKUPS {
        let key = maker.key(random.next() % entries);
        let vector = random.vector();
        let began = Instant::now();
        let found = semantic.nearest(key.scope, &vector);
        searches.push(began.elapsed());
        drop(found);
    }
    print_times("search of a scope by a vector", &mut searches);
}

fn print_times(what: &str, times: &mut [Duration]) {
    times.sort_unstable();
    let at = |share: usize| {
        times
            .get(times.len() * share / 100)
            .copied()
            .unwrap_or_default()
    };
    println!("{what}: p50 {:?}, p99 {:?}", at(50), at(99));
}

/// Resident memory of the process, in bytes.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}
