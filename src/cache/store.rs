//! The store of both tiers: one for all cores, sharded, bounded in bytes, with absolute time to live.

use super::entry::{Entry, Key};
use quick_cache::Weighter;
use quick_cache::sync::Cache;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Entries the tables are made for at start; they grow.
const ENTRIES_EXPECTED: usize = 4096;

/// The store.
pub struct Store {
    entries: Cache<u128, Arc<Entry>, ByBytes>,
}

#[derive(Clone)]
struct ByBytes;

impl Weighter<u128, Arc<Entry>> for ByBytes {
    fn weight(&self, _: &u128, entry: &Arc<Entry>) -> u64 {
        entry.bytes()
    }
}

impl Store {
    /// An empty store for at most `bytes_max` bytes.
    #[must_use]
    pub fn new(bytes_max: u64) -> Self {
        Self {
            entries: Cache::with_weighter(ENTRIES_EXPECTED, bytes_max, ByBytes),
        }
    }

    /// The live entry that answers exactly this request.
    #[must_use]
    pub fn get(&self, key: &Key, now: Instant) -> Option<Arc<Entry>> {
        let entry = self.entries.get(&key.exact)?;
        if !entry.is_live(now) {
            self.entries
                .remove_if(&key.exact, |found| !found.is_kept(now));
            return None;
        }
        entry.is_for(key).then_some(entry)
    }

    /// The entry for exactly this request, up to `stale_for` past its time.
    #[must_use]
    pub fn get_stale(&self, key: &Key, stale_for: Duration, now: Instant) -> Option<Arc<Entry>> {
        let entry = self.entries.get(&key.exact)?;
        (entry.is_within(stale_for, now) && entry.is_for(key)).then_some(entry)
    }

    /// Stores an entry, over one of the same key; evicts when full.
    pub fn insert(&self, entry: Arc<Entry>) {
        self.entries.insert(entry.id, entry);
    }

    /// Removes one entry; false if it is not there.
    pub fn remove(&self, id: u128) -> bool {
        self.entries.remove(&id).is_some()
    }

    /// The entry of this id, expired or not.
    #[must_use]
    pub fn find(&self, id: u128) -> Option<Arc<Entry>> {
        self.entries.get(&id)
    }

    /// Removes an entry whose answer was called wrong, and its aliases: entries of the same scope with the
    /// same answer. Tells how many.
    pub fn remove_with_aliases(&self, wrong: &Entry) -> usize {
        self.remove_where(|entry| {
            entry.scope == wrong.scope
                && (entry.id == wrong.id || entry.answer.content() == wrong.answer.content())
        })
    }

    /// Removes the entries that `matches`, and tells how many.
    pub fn remove_where(&self, matches: impl Fn(&Entry) -> bool) -> usize {
        let before = self.entries.len();
        self.entries.retain(|_, entry| !matches(entry));
        before.saturating_sub(self.entries.len())
    }

    /// Removes what has expired, and what is kept beyond if memory is short: it goes before what lives.
    pub fn sweep(&self, now: Instant) {
        let is_short = self.bytes() > self.bytes_max() / 8 * 7;
        self.entries
            .retain(|_, entry| entry.is_live(now) || (entry.is_kept(now) && !is_short));
    }

    /// Entries held.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// True when nothing is stored.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Bytes accounted now.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.entries.weight()
    }

    /// Bytes allowed.
    #[must_use]
    pub fn bytes_max(&self) -> u64 {
        self.entries.capacity()
    }
}

#[cfg(test)]
mod tests {
    use super::super::answer::tests::answer;
    use super::super::entry::tests::key;
    use super::super::entry::{Graveyard, Storing};
    use super::*;
    use crate::telemetry::Name;

    fn entry(question: &str, bytes: usize, graveyard: &Arc<Graveyard>) -> Arc<Entry> {
        let storing = Storing {
            answer: answer(&"x".repeat(bytes)),
            model: Name::new("m"),
            key: None,
            target: Name::new("p/m"),
            at: Instant::now(),
            ttl: Duration::from_secs(10),
            kept_for: Duration::ZERO,
            indexed: false,
        };
        Arc::new(Entry::new(
            key("t", question),
            storing,
            Arc::clone(graveyard),
        ))
    }

    #[test]
    fn live_entries_are_found_and_expired_ones_are_gone() {
        let (store, graveyard) = (Store::new(1 << 20), Arc::default());
        let now = Instant::now();
        store.insert(entry("a", 10, &graveyard));
        assert!(store.get(&key("t", "a"), now).is_some());
        assert!(store.get(&key("other", "a"), now).is_none());
        assert!(store.get(&key("t", "b"), now).is_none());
        let later = now + Duration::from_secs(11);
        assert!(store.get(&key("t", "a"), later).is_none());
        assert!(store.is_empty());
    }

    #[test]
    fn what_is_kept_past_its_time_is_no_hit_and_goes_first() {
        let (store, graveyard) = (Store::new(256 * 1024), Arc::<Graveyard>::default());
        let keep = |question: &str, bytes, ttl| {
            let mut entry = Arc::into_inner(entry(question, bytes, &graveyard)).unwrap();
            (entry.ttl, entry.kept_for) = (Duration::from_secs(ttl), Duration::from_secs(60));
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
        let kept = || {
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
        let (old, new) = (kept(), live());
        assert!(old > 0 && new > 100, "{old} {new}");
        store.sweep(at(11));
        assert_eq!((kept(), live()), (0, new));
        // It is not kept for ever.
        keep("a", 10, 10);
        store.sweep(at(71));
        assert!(store.get_stale(&a, 2 * minute, at(71)).is_none());
    }

    #[test]
    fn memory_is_bounded_and_lost_vectors_are_reported() {
        let (store, graveyard) = (Store::new(256 * 1024), Arc::<Graveyard>::default());
        for at in 0..2000 {
            let entry = entry(&format!("q{at}"), 1000, &graveyard);
            entry.set_vector(at + 1);
            store.insert(entry);
            assert!(store.bytes() <= store.bytes_max());
        }
        assert!(store.len() > 50, "{}", store.len());
        assert_eq!(graveyard.take().len() + store.len(), 2000);
        // What is still held can be found.
        let now = Instant::now();
        let found = (0..2000)
            .filter(|at| store.get(&key("t", &format!("q{at}")), now).is_some())
            .count();
        assert_eq!(found, store.len());
    }

    #[test]
    fn a_colliding_hash_is_a_miss() {
        let (store, graveyard) = (Store::new(1 << 20), Arc::default());
        store.insert(entry("a", 10, &graveyard));
        let mut forged = key("t", "b");
        forged.exact = key("t", "a").exact;
        assert!(store.get(&forged, Instant::now()).is_none());
    }
}
