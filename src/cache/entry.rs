//! Keys and entries.
//!
//! A key is a keyed 128-bit hash, and an entry also holds the form it was made from: a hit is served
//! only when that form is equal, so a collision is a miss and never another request's answer.

use super::answer::Answer;
use crate::api::canonical::Canonical;
use crate::embedding::static_index::STATIC_ENTRY_BYTES;
use crate::telemetry::Name;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use xxhash_rust::xxh3::xxh3_128_with_secret;

/// Secret of the hashes, drawn at start: keys cannot be predicted from outside.
#[derive(Clone)]
pub struct HashSecret(Arc<[u8; 192]>);

impl HashSecret {
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
    /// The scope: tenant, resolved model, policy epoch, and everything of the request but the question.
    pub scope_form: Vec<u8>,
    /// The question.
    pub question: String,
}

impl Key {
    /// The key of a request of `tenant` to the model whose resolved identity is `model_identity`.
    #[must_use]
    pub fn new(
        secret: &HashSecret,
        tenant: &str,
        model_identity: u64,
        canonical: Canonical,
    ) -> Self {
        // Behind the canonical form, lengths last: read from its end, the form has one meaning.
        let mut form = canonical.scope;
        form.extend_from_slice(tenant.as_bytes());
        form.extend_from_slice(&(tenant.len() as u64).to_le_bytes());
        form.extend_from_slice(&model_identity.to_le_bytes());
        let scope = xxh3_128_with_secret(&form, &*secret.0);
        let question = xxh3_128_with_secret(canonical.question.as_bytes(), &*secret.0);
        Self {
            // Turned, so that a question that equals its scope does not cancel it.
            exact: scope ^ question.rotate_left(32),
            scope,
            scope_form: form,
            question: canonical.question,
        }
    }
}

/// A stored answer.
pub struct Entry {
    /// Identity in headers and on the admin side; also the exact key.
    pub id: u128,
    /// Hash of the scope.
    pub scope: u128,
    /// The scope's form and, behind it, the question.
    form: Box<[u8]>,
    scope_form_bytes: usize,
    /// The answer.
    pub answer: Answer,
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
    /// Its vector in the scope's index; 0 = none.
    vector: AtomicU64,
    graveyard: Arc<Graveyard>,
}

/// Vectors whose entries are gone (evicted, replaced, deleted, expired), to be taken out of their
/// indexes by whoever next works on those. Filled by `Drop`, so that no way to lose an entry is missed.
#[derive(Default)]
pub struct Graveyard(parking_lot::Mutex<Vec<(u128, u64)>>);

impl Graveyard {
    /// Takes all: scope and vector of each.
    pub fn take(&self) -> Vec<(u128, u64)> {
        std::mem::take(&mut self.0.lock())
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let vector = self.vector();
        if vector != 0 {
            self.graveyard.0.lock().push((self.scope, vector));
        }
    }
}

/// What an entry is stored with.
pub struct Storing {
    /// The answer.
    pub answer: Answer,
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

/// Bytes an entry takes beside its texts: struct, map slot, allocator overhead. Rounded up.
const ENTRY_OVERHEAD_BYTES: u64 = 400;
/// Bytes of a vector in an index: 384 floats for rescoring, 384 for the scan, its share of the
/// scope's tables (a whole scope in the worst case).
pub const VECTOR_BYTES: u64 = 384 * 5 + 1024 + STATIC_ENTRY_BYTES;

impl Entry {
    /// An entry for `key`.
    #[must_use]
    pub fn new(key: Key, storing: Storing, graveyard: Arc<Graveyard>) -> Self {
        let scope_form_bytes = key.scope_form.len();
        let mut form = key.scope_form;
        form.extend_from_slice(key.question.as_bytes());
        let texts = form.len() + storing.answer.bytes();
        let vector = if storing.indexed { VECTOR_BYTES } else { 0 };
        Self {
            id: key.exact,
            scope: key.scope,
            form: form.into_boxed_slice(),
            scope_form_bytes,
            answer: storing.answer,
            model: storing.model,
            key: storing.key,
            target: storing.target,
            stored_at: storing.at,
            ttl: storing.ttl,
            kept_for: storing.kept_for,
            bytes: texts as u64 + ENTRY_OVERHEAD_BYTES + vector,
            vector: AtomicU64::new(0),
            graveyard,
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
        self.shares_scope(key)
            && self.form.get(self.scope_form_bytes..) == Some(key.question.as_bytes())
    }

    /// Whether it belongs to this request's scope.
    #[must_use]
    pub fn shares_scope(&self, key: &Key) -> bool {
        self.form.get(..self.scope_form_bytes) == Some(&key.scope_form)
    }

    /// The question it answers.
    #[must_use]
    pub fn question(&self) -> &str {
        let question = self.form.get(self.scope_form_bytes..).unwrap_or_default();
        std::str::from_utf8(question).unwrap_or_default()
    }

    /// Bytes it is accounted with.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
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
pub(super) mod tests {
    use super::*;

    pub(in super::super) fn key(tenant: &str, question: &str) -> Key {
        let secret = HashSecret(Arc::new([7; 192]));
        let canonical = Canonical {
            scope: b"scope".to_vec(),
            question: question.into(),
            semantic: Ok(()),
        };
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
    }
}
