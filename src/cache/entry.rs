//! Keys and entries.
//!
//! A key is a keyed 128-bit hash, and an entry also holds the form it was made from: a hit is served
//! only when that form is equal, so a collision is a miss and never another request's answer.

use crate::base::names::Name;
use crate::cache::response::cached_response::CachedResponse;
use crate::cache::shard::SLOT_BYTES;
use crate::embedding::codes::Code;
use crate::embedding::static_index::STATIC_ENTRY_BYTES;
use crate::protocols::request::canonical_request::Canonical;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use xxhash_rust::xxh3::xxh3_128_with_secret;

/// Secret of the hashes, drawn at start or kept with the entries: keys cannot be predicted from outside.
#[derive(Clone)]
pub struct HashSecret(Arc<[u8; 192]>);

impl HashSecret {
    /// Bytes of a secret: what the hash reads of one at most.
    pub const BYTES: usize = 192;

    /// A secret drawn earlier.
    #[must_use]
    pub fn from_bytes(bytes: [u8; Self::BYTES]) -> Self {
        Self(Arc::new(bytes))
    }

    /// Its bytes; to be kept as secret as it is.
    #[must_use]
    pub fn bytes(&self) -> &[u8; Self::BYTES] {
        &self.0
    }

    /// Draws a secret from the system.
    ///
    /// # Errors
    /// The system has no randomness to give.
    pub fn draw() -> Result<Self, String> {
        let mut bytes = [0; 192];
        ring::rand::SecureRandom::fill(&ring::rand::SystemRandom::new(), &mut bytes)
            .map_err(|_| "the system's random source failed".to_owned())?;
        Ok(Self(Arc::new(bytes)))
    }
}

/// Identity of a request for the cache.
#[derive(Debug, Clone)]
pub struct Key {
    /// Hash of scope and question.
    pub exact: u128,
    /// Hash of the scope.
    pub scope: u128,
    form: Form,
}

/// What a key is made from: the question and, behind it, the scope. An entry shares it with its key.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Form {
    bytes: Arc<[u8]>,
    question_bytes: u32,
}

impl Form {
    fn new(bytes: Arc<[u8]>, question_bytes: usize) -> Self {
        Self {
            bytes,
            question_bytes: u32::try_from(question_bytes).unwrap_or(u32::MAX),
        }
    }

    fn question(&self) -> &str {
        let question = self.bytes.get(..self.question_bytes as usize);
        std::str::from_utf8(question.unwrap_or_default()).unwrap_or_default()
    }

    fn scope(&self) -> &[u8] {
        let scope = self.bytes.get(self.question_bytes as usize..);
        scope.unwrap_or_default()
    }
}

impl Key {
    /// The key of a request of `tenant` to the model whose resolved identity is `model_identity`.
    #[must_use]
    pub fn new(
        secret: &HashSecret,
        tenant: &str,
        model_identity: u64,
        mut canonical: Canonical,
    ) -> Self {
        // Behind the canonical form, lengths last: read from its end, the form has one meaning.
        canonical.extend_scope(tenant.as_bytes());
        canonical.extend_scope(&(tenant.len() as u64).to_le_bytes());
        canonical.extend_scope(&model_identity.to_le_bytes());
        let (form, question_bytes) = canonical.into_form();
        Self::of(secret, Form::new(form.into(), question_bytes))
    }

    /// The key of a question in the scope that has this form.
    #[must_use]
    pub fn of_form(secret: &HashSecret, scope_form: &[u8], question: &str) -> Self {
        let bytes = [question.as_bytes(), scope_form].concat();
        Self::of(secret, Form::new(bytes.into(), question.len()))
    }

    fn of(secret: &HashSecret, form: Form) -> Self {
        let scope = xxh3_128_with_secret(form.scope(), &*secret.0);
        let question = form.bytes.get(..form.question_bytes as usize);
        let hash = xxh3_128_with_secret(question.unwrap_or_default(), &*secret.0);
        Self {
            // Turned, so that a question that equals its scope does not cancel it.
            exact: scope ^ hash.rotate_left(32),
            scope,
            form,
        }
    }

    /// The scope's form: tenant, resolved model, policy epoch, and everything of the request but the
    /// question.
    #[must_use]
    pub fn scope_form(&self) -> &[u8] {
        self.form.scope()
    }

    /// The question.
    #[must_use]
    pub fn question(&self) -> &str {
        self.form.question()
    }

    /// Whether it is of exactly the same request.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        self.form == other.form
    }
}

/// A stored answer.
pub struct Entry {
    /// Identity in headers and on the admin side; also the exact key.
    pub id: u128,
    /// Hash of the scope.
    pub scope: u128,
    form: Form,
    /// The answer.
    pub response: CachedResponse,
    /// Model asked for.
    pub model: Name,
    /// Virtual key that caused it; `None` without keys.
    pub key: Option<Name>,
    /// Target that answered.
    pub target: Name,
    /// When it was stored.
    pub stored_at: Instant,
    /// Absolute time to live; a hit never extends it.
    pub ttl: Duration,
    /// How long past that it is kept, for when every target fails.
    pub kept_for: Duration,
    bytes: u64,
    /// Uses, storing included.
    uses: AtomicU32,
    /// Its vector in the scope's index; 0 = none.
    vector: AtomicU64,
    pending_removals: Arc<PendingRemovals>,
}

/// Vectors whose entries are gone (evicted, replaced, deleted, expired), to be taken out of their
/// indexes by whoever next works on those. Filled by `Drop`, so that no way to lose an entry is missed.
#[derive(Default)]
pub struct PendingRemovals(parking_lot::Mutex<Vec<(u128, u64)>>);

impl PendingRemovals {
    /// Takes all: scope and vector of each.
    pub fn take(&self) -> Vec<(u128, u64)> {
        std::mem::take(&mut self.0.lock())
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let vector = self.vector();
        if vector != 0 {
            self.pending_removals.0.lock().push((self.scope, vector));
        }
    }
}

/// What an entry is stored with.
pub struct Storing {
    /// The answer.
    pub response: CachedResponse,
    /// Model asked for.
    pub model: Name,
    /// Virtual key that caused it; `None` without keys.
    pub key: Option<Name>,
    /// Target that answered.
    pub target: Name,
    /// Now.
    pub at: Instant,
    /// Absolute time to live.
    pub ttl: Duration,
    /// How long past that it is kept.
    pub kept_for: Duration,
    /// Whether a vector may come to it; accounts its memory.
    pub indexed: bool,
}

/// Bytes an entry takes beside its texts: itself with its two counts, its slot in the store, and what
/// the allocator rounds up. `examples/fill` compares with what the process takes.
const ENTRY_OVERHEAD_BYTES: u64 = (size_of::<Entry>() + 16) as u64 * 9 / 8 + SLOT_BYTES;
/// Bytes of a vector in a scope's index: its code, its owner, its id, its place in the map (12 bytes, 1
/// of control, half of the map free), the static code, and the room that tables keep for growing. What a
/// scope takes beyond, for few vectors or for a graph, is charged to the store by the scope.
pub const VECTOR_BYTES: u64 =
    (size_of::<Code>() + STATIC_ENTRY_BYTES + 8 + 8) as u64 * 17 / 16 + 26;

/// Bytes of the two counts before a form that is shared.
const FORM_COUNTS_BYTES: usize = 2 * size_of::<usize>();

/// English text has about four bytes per token.
const BYTES_PER_TOKEN: u64 = 4;

/// The tenant in a scope's form, which ends with the tenant, its length and the model's identity.
fn tenant_of(form: &[u8]) -> Option<&str> {
    let (rest, _identity) = form.split_last_chunk::<8>()?;
    let (rest, length) = rest.split_last_chunk::<8>()?;
    let length = usize::try_from(u64::from_le_bytes(*length)).ok()?;
    let start = rest.len().checked_sub(length)?;
    std::str::from_utf8(rest.get(start..)?).ok()
}

impl Entry {
    /// An entry for `key`.
    #[must_use]
    pub fn new(key: Key, storing: Storing, pending_removals: Arc<PendingRemovals>) -> Self {
        // The allocator rounds up, by an eighth on average.
        let texts = (FORM_COUNTS_BYTES + key.form.bytes.len() + storing.response.bytes()) * 9 / 8;
        let vector = if storing.indexed { VECTOR_BYTES } else { 0 };
        Self {
            id: key.exact,
            scope: key.scope,
            form: key.form,
            response: storing.response,
            model: storing.model,
            key: storing.key,
            target: storing.target,
            stored_at: storing.at,
            ttl: storing.ttl,
            kept_for: storing.kept_for,
            bytes: texts as u64 + ENTRY_OVERHEAD_BYTES + vector,
            uses: AtomicU32::new(0),
            vector: AtomicU64::new(0),
            pending_removals,
        }
    }

    /// Whether it may still be served.
    #[must_use]
    pub fn is_live(&self, now: Instant) -> bool {
        self.age(now) < self.ttl
    }

    /// Whether it is not longer past its time than `stale_for`.
    #[must_use]
    pub fn is_within(&self, stale_for: Duration, now: Instant) -> bool {
        self.age(now) < self.ttl.saturating_add(stale_for)
    }

    /// Whether it is still held.
    #[must_use]
    pub fn is_kept(&self, now: Instant) -> bool {
        self.is_within(self.kept_for, now)
    }

    /// How long ago it was stored.
    #[must_use]
    pub fn age(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.stored_at)
    }

    /// Whether it answers exactly this request.
    #[must_use]
    pub fn is_for(&self, key: &Key) -> bool {
        self.form == key.form
    }

    /// Whether it belongs to this request's scope.
    #[must_use]
    pub fn shares_scope(&self, key: &Key) -> bool {
        self.scope_form() == key.scope_form()
    }

    /// Whose it is, as [`Key::new`] was told.
    #[must_use]
    pub fn tenant(&self) -> &str {
        tenant_of(self.scope_form()).unwrap_or_default()
    }

    /// The scope's form.
    #[must_use]
    pub fn scope_form(&self) -> &[u8] {
        self.form.scope()
    }

    /// The question it answers.
    #[must_use]
    pub fn question(&self) -> &str {
        self.form.question()
    }

    /// Bytes it is accounted with.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Counts a use and tells its value: uses × tokens saved ÷ bytes.
    #[allow(clippy::cast_precision_loss)]
    pub fn count_use(&self) -> f64 {
        let uses = self.uses.load(Ordering::Relaxed).saturating_add(1);
        self.uses.store(uses, Ordering::Relaxed);
        f64::from(uses) * self.tokens_saved() as f64 / self.bytes as f64
    }

    /// Tokens that a hit saves; by the length of the texts where the provider told no usage.
    fn tokens_saved(&self) -> u64 {
        let told = self
            .response
            .usage
            .map(|usage| usage.prompt.saturating_add(usage.completion));
        let texts = (self.form.bytes.len() + self.response.bytes()) as u64;
        told.unwrap_or(texts / BYTES_PER_TOKEN).max(1)
    }

    /// Its vector in the scope's index; 0 = none.
    #[must_use]
    pub fn vector(&self) -> u64 {
        self.vector.load(Ordering::Acquire)
    }

    /// Notes its vector.
    pub fn set_vector(&self, id: u64) {
        self.vector.store(id, Ordering::Release);
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn key(tenant: &str, question: &str) -> Key {
        let secret = HashSecret(Arc::new([7; 192]));
        let mut canonical = Canonical::new(question, Ok(()));
        canonical.extend_scope(b"scope");
        Key::new(&secret, tenant, 1, canonical)
    }

    #[test]
    fn tenant_and_question_part_keys() {
        let a = key("a", "q");
        assert_eq!(a.exact, key("a", "q").exact);
        assert_ne!(a.exact, key("b", "q").exact);
        assert_ne!(a.scope, key("b", "q").scope);
        assert_eq!(a.scope, key("a", "other").scope);
        assert_ne!(a.exact, key("a", "other").exact);
        assert_eq!(tenant_of(key("key:a", "q").scope_form()), Some("key:a"));
        assert_eq!(tenant_of(b"short"), None);
    }
}
