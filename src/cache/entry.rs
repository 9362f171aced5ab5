//! A stored response with its key, its lifetime and its use count.
//!
//! A hit is served only when the entry's key bytes are equal to the request's. It must not know how entries
//! are found or evicted.

use crate::base::names::Name;
use crate::cache::key::{Key, KeyForm};
use crate::cache::pending_removals::{PendingRemoval, PendingRemovals};
use crate::cache::response::cached_response::CachedResponse;
use crate::embedding::codes::Code;
use crate::embedding::static_index::STATIC_ENTRY_BYTES;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// A stored response.
pub struct Entry {
    /// Identity in headers and in the admin API; the hash of the exact key.
    pub id: u128,
    /// Hash of the scope.
    pub scope: u128,
    form: KeyForm,
    /// The response.
    pub response: CachedResponse,
    /// The requested model.
    pub model: Name,
    /// The virtual key whose request was stored; `None` without keys.
    pub key: Option<Name>,
    /// The target that sent the response.
    pub target: Name,
    /// When it was stored.
    pub stored_at: Instant,
    /// Absolute time to live; a hit never extends it.
    pub ttl: Duration,
    /// How long the entry stays stored after its time to live, to be served when every target fails.
    pub stale_for: Duration,
    bytes: u64,
    /// Uses, storing included.
    uses: AtomicU32,
    /// Id of its vector in the scope's index; 0 = none.
    vector: AtomicU64,
    pending_removals: Arc<PendingRemovals>,
}

impl Drop for Entry {
    fn drop(&mut self) {
        let vector = self.vector();
        if vector != 0 {
            let scope = self.scope;
            self.pending_removals.push(PendingRemoval { scope, vector });
        }
    }
}

/// What an entry is made from, besides its key.
pub struct NewEntry {
    /// The response.
    pub response: CachedResponse,
    /// The requested model.
    pub model: Name,
    /// The virtual key whose request is stored; `None` without keys.
    pub key: Option<Name>,
    /// The target that sent the response.
    pub target: Name,
    /// When it is stored.
    pub stored_at: Instant,
    /// Absolute time to live.
    pub ttl: Duration,
    /// How long the entry stays stored after its time to live.
    pub stale_for: Duration,
    /// Whether the entry may get a vector; its memory is accounted in advance.
    pub indexed: bool,
}

/// Bytes that the store takes for an entry: twice its slot (a reference, a principal, a score) and its
/// position in the hash table with one control byte; twice, because growing tables have free room.
/// `cache::shard` checks the size of a slot.
pub(crate) const SLOT_BYTES: u64 =
    2 * (size_of::<(Arc<Entry>, u32, AtomicU64)>() + size_of::<u32>() + 1) as u64;
/// Bytes that an entry takes besides its texts: itself with its two reference counts and the allocator's
/// rounding, and its slot in the store. `benches/tools/fill.rs` compares this with the memory of the process.
const ENTRY_OVERHEAD_BYTES: u64 = (size_of::<Entry>() + 16) as u64 * 9 / 8 + SLOT_BYTES;
/// Bytes of a vector in a scope's index: its code, its owner, its id, its position in the map (12 bytes, 1
/// control byte, half of the map free), its static code, and the free room of growing tables. The memory
/// that a scope takes beyond that, for few vectors or for a graph, is charged by the scope.
pub(crate) const VECTOR_BYTES: u64 =
    (size_of::<Code>() + STATIC_ENTRY_BYTES + 8 + 8) as u64 * 17 / 16 + 26;

/// Bytes of the two reference counts before the shared bytes of a key.
const FORM_COUNTS_BYTES: usize = 2 * size_of::<usize>();

/// English text has about four bytes per token.
const BYTES_PER_TOKEN: u64 = 4;

impl Entry {
    /// An entry for `key`.
    #[must_use]
    pub fn new(key: Key, new_entry: NewEntry, pending_removals: Arc<PendingRemovals>) -> Self {
        // The allocator rounds up, by an eighth on average.
        let texts = (FORM_COUNTS_BYTES + key.form().len() + new_entry.response.bytes()) * 9 / 8;
        let vector = if new_entry.indexed { VECTOR_BYTES } else { 0 };
        Self {
            id: key.exact,
            scope: key.scope,
            form: key.form().clone(),
            response: new_entry.response,
            model: new_entry.model,
            key: new_entry.key,
            target: new_entry.target,
            stored_at: new_entry.stored_at,
            ttl: new_entry.ttl,
            stale_for: new_entry.stale_for,
            bytes: texts as u64 + ENTRY_OVERHEAD_BYTES + vector,
            uses: AtomicU32::new(0),
            vector: AtomicU64::new(0),
            pending_removals,
        }
    }

    /// Whether its time to live has not passed.
    #[must_use]
    pub(crate) fn is_live(&self, now: Instant) -> bool {
        self.age(now) < self.ttl
    }

    /// Whether its time to live passed less than `stale_for` ago, or has not passed.
    #[must_use]
    pub(crate) fn is_within(&self, stale_for: Duration, now: Instant) -> bool {
        self.age(now) < self.ttl.saturating_add(stale_for)
    }

    /// Whether it stays stored.
    #[must_use]
    pub(crate) fn is_retained(&self, now: Instant) -> bool {
        self.is_within(self.stale_for, now)
    }

    /// Time since it was stored.
    #[must_use]
    pub(crate) fn age(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.stored_at)
    }

    /// Whether it is the response to exactly this request.
    #[must_use]
    pub(crate) fn matches(&self, key: &Key) -> bool {
        self.form == *key.form()
    }

    /// Whether it belongs to the scope of this request.
    #[must_use]
    pub(crate) fn shares_scope(&self, key: &Key) -> bool {
        self.scope_bytes() == key.scope_bytes()
    }

    /// The tenant whose request was stored.
    #[must_use]
    pub(crate) fn tenant(&self) -> &str {
        let tenant = self.form.tenant();
        debug_assert!(tenant.is_some(), "every key is made with a tenant");
        tenant.unwrap_or_default()
    }

    /// The bytes of its scope, as [`Key::scope_bytes`].
    #[must_use]
    pub(crate) fn scope_bytes(&self) -> &[u8] {
        self.form.scope()
    }

    /// The question whose response it is.
    #[must_use]
    pub(crate) fn question(&self) -> &str {
        self.form.question()
    }

    /// Bytes of memory that it is accounted with.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Counts a use and returns the entry's value: uses × tokens saved ÷ bytes.
    pub(crate) fn count_use(&self) -> f64 {
        let uses = self.uses.load(Ordering::Relaxed).saturating_add(1);
        self.uses.store(uses, Ordering::Relaxed);
        f64::from(uses) * self.tokens_saved() as f64 / self.bytes as f64
    }

    /// Tokens that a hit saves; estimated from the length of the texts when the provider reported no usage.
    fn tokens_saved(&self) -> u64 {
        let reported = self.response.usage.map(|usage| usage.total());
        let text_bytes = (self.form.len() + self.response.bytes()) as u64;
        reported.unwrap_or(text_bytes / BYTES_PER_TOKEN).max(1)
    }

    /// Id of its vector in the scope's index; 0 = none.
    #[must_use]
    pub(crate) fn vector(&self) -> u64 {
        self.vector.load(Ordering::Acquire)
    }

    pub(crate) fn set_vector(&self, id: u64) {
        self.vector.store(id, Ordering::Release);
    }
}
