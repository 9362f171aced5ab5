//! Properties of the store: its bounds hold, every stored entry is found, shares and eviction scores work.

use super::*;
use crate::base::names::Name;
use crate::cache::entry::NewEntry;
use crate::cache::key::tests::key;
use crate::cache::pending_removals::PendingRemovals;
use crate::cache::response::cached_response::tests::response;
use crate::protocols::usage::Usage;
use std::time::Duration;

/// An entry to be made, with `bytes` bytes of content.
struct EntrySpec<'t> {
    tenant: &'t str,
    question: String,
    bytes: usize,
    tokens: u64,
}

fn make(spec: &EntrySpec<'_>, pending_removals: &Arc<PendingRemovals>) -> Arc<Entry> {
    let mut response = response(&"x".repeat(spec.bytes));
    response.usage = Some(Usage {
        completion: spec.tokens,
        ..Usage::default()
    });
    let new_entry = NewEntry {
        response,
        model: Name::new("m"),
        key: None,
        target: Name::new("p/m"),
        stored_at: Instant::now(),
        ttl: Duration::from_secs(10),
        stale_for: Duration::ZERO,
        indexed: false,
    };
    let key = key(spec.tenant, &spec.question);
    Arc::new(Entry::new(key, new_entry, Arc::clone(pending_removals)))
}

fn entry(question: &str, bytes: usize, pending_removals: &Arc<PendingRemovals>) -> Arc<Entry> {
    let spec = EntrySpec {
        tenant: "t",
        question: question.into(),
        bytes,
        tokens: 100,
    };
    make(&spec, pending_removals)
}

#[test]
fn live_entries_are_found_and_expired_ones_are_gone() {
    let (store, pending_removals) = (Store::new(1 << 20, 1.0), Arc::default());
    let now = Instant::now();
    assert!(store.insert(entry("a", 10, &pending_removals)));
    assert!(store.get(&key("t", "a"), now).is_some());
    assert!(store.get(&key("other", "a"), now).is_none());
    assert!(store.get(&key("t", "b"), now).is_none());
    let later = now + Duration::from_secs(11);
    assert!(store.get(&key("t", "a"), later).is_none());
    assert!(store.is_empty());
    assert_eq!(store.bytes(), 0);
}

#[test]
fn memory_is_bounded_for_any_sizes_and_stored_entries_are_found() {
    let (store, pending_removals) = (
        Store::new(256 * 1024, 1.0),
        Arc::<PendingRemovals>::default(),
    );
    let mut random = 1;
    for at in 0..5000 {
        random = mix(random, 1);
        // Mostly small, some as large as a tenth of the memory.
        let bytes = 1 << (random % 15);
        let entry = entry(&format!("q{}", at % 4000), bytes, &pending_removals);
        entry.set_vector(at + 1);
        assert!(store.insert(entry));
        assert!(store.bytes() <= store.bytes_max());
        if at % 7 == 0 {
            store.remove(key("t", &format!("q{}", at / 2)).exact);
        }
    }
    assert!(store.len() > 30, "{}", store.len());
    assert_eq!(pending_removals.take().len() + store.len(), 5000);
    let (now, mut found, mut bytes) = (Instant::now(), 0, 0);
    for at in 0..4000 {
        if let Some(entry) = store.get(&key("t", &format!("q{at}")), now) {
            found += 1;
            bytes += entry.bytes();
        }
    }
    assert_eq!((found, bytes), (store.len(), store.bytes()));
    assert_eq!(bytes, store.bytes_of("t"));
    assert!(!store.insert(entry("large", 256 * 1024, &pending_removals)));
    assert_eq!(store.remove_where(|_| true), found);
    assert_eq!((store.len(), store.bytes()), (0, 0));
}

#[test]
fn concurrent_insertions_keep_the_bound_and_the_sums() {
    let (store, pending_removals) = (
        Store::new(256 * 1024, 0.5),
        Arc::<PendingRemovals>::default(),
    );
    std::thread::scope(|scope| {
        for tenant in ["a", "b", "c"] {
            let (store, pending_removals) = (&store, &pending_removals);
            scope.spawn(move || {
                for at in 0..3000 {
                    // Two of them want the same keys.
                    let tenant = if tenant == "c" { "a" } else { tenant };
                    let spec = EntrySpec {
                        tenant,
                        question: format!("q{}", at % 700),
                        bytes: at % 900,
                        tokens: 10,
                    };
                    store.insert(make(&spec, pending_removals));
                    assert!(store.bytes() <= store.bytes_max());
                }
            });
        }
    });
    assert_eq!(store.bytes(), store.bytes_of("a") + store.bytes_of("b"));
    store.remove_where(|_| true);
    assert_eq!((store.bytes(), store.bytes_of("a")), (0, 0));
}

#[test]
fn used_or_expensive_entries_outlive_others() {
    let (store, pending_removals) = (Store::new(1 << 20, 1.0), Arc::default());
    let spec = |name: &str, at: usize, tokens| EntrySpec {
        tenant: "t",
        question: format!("{name}{at}"),
        bytes: 1000,
        tokens,
    };
    let (mut used, mut expensive, mut plain) = (0, 0, 0);
    for at in 0..100 {
        store.insert(make(&spec("used", at, 100), &pending_removals));
        store.insert(make(&spec("expensive", at, 2000), &pending_removals));
        store.insert(make(&spec("plain", at, 100), &pending_removals));
    }
    let now = Instant::now();
    for at in 0..100 {
        for _ in 0..20 {
            let _ = store.get(&key("t", &format!("used{at}")), now);
        }
    }
    for at in 0..1000 {
        store.insert(make(&spec("new", at, 100), &pending_removals));
    }
    for at in 0..100 {
        let has = |name: &str| store.get(&key("t", &format!("{name}{at}")), now).is_some();
        used += usize::from(has("used"));
        expensive += usize::from(has("expensive"));
        plain += usize::from(has("plain"));
    }
    assert!(
        used > 95 && expensive > 95 && plain < 80,
        "{used} {expensive} {plain}"
    );
    // Inflation: an unused entry is evicted in the end, however expensive it was.
    for at in 0..60_000 {
        store.insert(make(&spec("later", at, 100), &pending_removals));
    }
    let left = (0..100).filter(|at| {
        store
            .get(&key("t", &format!("expensive{at}")), now)
            .is_some()
    });
    assert!(left.count() < 30);
}

#[test]
fn a_principal_over_its_share_evicts_nothing_of_those_within() {
    let (store, pending_removals) = (Store::new(1 << 20, 0.25), Arc::default());
    let spec = |tenant, at: usize, tokens| EntrySpec {
        tenant,
        question: format!("q{at}"),
        bytes: 500,
        tokens,
    };
    // Alone, it may fill everything.
    for at in 0..5000 {
        assert!(store.insert(make(&spec("greedy", at, 9000), &pending_removals)));
    }
    assert!(store.bytes_of("greedy") > store.bytes_max() * 9 / 10);
    // Others get room, although their entries have a lower value.
    for at in 0..200 {
        assert!(store.insert(make(&spec("small", at, 1), &pending_removals)));
    }
    let small = store.bytes_of("small");
    assert!(small > 0 && small < store.bytes_max() / 4);
    for at in 5000..20_000 {
        assert!(store.insert(make(&spec("greedy", at, 9000), &pending_removals)));
        assert_eq!(store.bytes_of("small"), small);
    }
}

#[test]
fn a_charge_makes_room() {
    let (store, pending_removals) = (Store::new(1 << 20, 1.0), Arc::default());
    for at in 0..2000 {
        store.insert(entry(&format!("q{at}"), 1000, &pending_removals));
    }
    store.charge(1 << 19);
    assert!(store.bytes() <= store.bytes_max());
    assert!(store.bytes_of("t") <= 1 << 19);
    store.charge(-(1 << 19));
    assert_eq!(store.bytes(), store.bytes_of("t"));
}

#[test]
fn a_colliding_hash_is_a_miss() {
    let (store, pending_removals) = (Store::new(1 << 20, 1.0), Arc::default());
    store.insert(entry("a", 10, &pending_removals));
    let mut forged = key("t", "b");
    forged.exact = key("t", "a").exact;
    assert!(store.get(&forged, Instant::now()).is_none());
}

#[test]
fn a_stale_entry_is_not_a_hit_and_is_removed_first() {
    let (store, pending_removals) = (
        Store::new(256 * 1024, 1.0),
        Arc::<PendingRemovals>::default(),
    );
    let keep = |question: &str, bytes, ttl| {
        let mut entry = Arc::into_inner(entry(question, bytes, &pending_removals)).unwrap();
        (entry.ttl, entry.stale_for) = (Duration::from_secs(ttl), Duration::from_secs(60));
        store.insert(Arc::new(entry));
    };
    keep("a", 10, 10);
    let (a, start) = (key("t", "a"), Instant::now());
    let at = |seconds| start + Duration::from_secs(seconds);
    let minute = Duration::from_secs(60);
    assert!(store.get(&a, at(11)).is_none());
    store.sweep(at(11));
    assert!(store.get_stale(&a, minute, at(11)).is_some());
    // The configuration may have become stricter since.
    assert!(
        store
            .get_stale(&a, Duration::from_secs(5), at(20))
            .is_none()
    );
    assert!(store.get_stale(&key("u", "a"), minute, at(11)).is_none());
    // Memory is short.
    let keys = |name: &'static str| (0..2000).map(move |n| key("t", &format!("{name}{n}")));
    let retained = || {
        let found = keys("old").filter(|key| store.get_stale(key, minute, at(11)).is_some());
        found.count()
    };
    let live = || {
        let found = keys("new").filter(|key| store.get(key, at(11)).is_some());
        found.count()
    };
    (0..50).for_each(|n| keep(&format!("old{n}"), 10, 10));
    for n in 0..2000 {
        if store.bytes() <= store.bytes_max() / 8 * 7 {
            keep(&format!("new{n}"), 1000, 3600);
        }
    }
    let (old, new) = (retained(), live());
    assert!(old > 0 && new > 100, "{old} {new}");
    store.sweep(at(11));
    assert_eq!((retained(), live()), (0, new));
    // It is not retained for ever.
    keep("a", 10, 10);
    store.sweep(at(71));
    assert!(store.get_stale(&a, 2 * minute, at(71)).is_none());
}
