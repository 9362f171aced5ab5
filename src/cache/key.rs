//! Identity of a request for the cache: a keyed 128-bit hash, and the bytes that were hashed.
//!
//! Equality is decided by the bytes, so that a collision of hashes is a miss and never another request's
//! response. It must not know entries or where they are stored.

use crate::protocols::request::canonical_request::Canonical;
use std::sync::Arc;
use xxhash_rust::xxh3::xxh3_128_with_secret;

/// Secret of the hashes, drawn at start or stored with the entries: clients cannot predict keys.
#[derive(Clone)]
pub struct HashSecret(Arc<[u8; 192]>);

impl HashSecret {
    /// Bytes of a secret: the most that the hash function reads.
    pub(crate) const BYTES: usize = 192;

    /// A secret that was drawn earlier.
    #[must_use]
    pub(crate) fn from_bytes(bytes: [u8; Self::BYTES]) -> Self {
        Self(Arc::new(bytes))
    }

    /// The secret itself; whoever stores it must protect it.
    #[must_use]
    pub(crate) fn bytes(&self) -> &[u8; Self::BYTES] {
        &self.0
    }

    /// Draws a secret from the system's random source.
    ///
    /// # Errors
    /// The random source failed.
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
    form: KeyForm,
}

/// The bytes that a key is the hash of: the question, followed by the scope. An entry shares them with its
/// key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KeyForm {
    bytes: Arc<[u8]>,
    question_bytes: u32,
}

impl KeyForm {
    fn new(bytes: Arc<[u8]>, question_bytes: usize) -> Self {
        debug_assert!(question_bytes <= bytes.len());
        Self {
            bytes,
            question_bytes: u32::try_from(question_bytes).unwrap_or(u32::MAX),
        }
    }

    pub(crate) fn question(&self) -> &str {
        let question = self.bytes.get(..self.question_bytes as usize);
        std::str::from_utf8(question.unwrap_or_default()).unwrap_or_default()
    }

    pub(crate) fn scope(&self) -> &[u8] {
        let scope = self.bytes.get(self.question_bytes as usize..);
        scope.unwrap_or_default()
    }

    /// The tenant. A scope ends with the tenant, the tenant's length and the model's identity.
    pub(crate) fn tenant(&self) -> Option<&str> {
        tenant_of(self.scope())
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }
}

fn tenant_of(scope: &[u8]) -> Option<&str> {
    let (rest, _identity) = scope.split_last_chunk::<8>()?;
    let (rest, length) = rest.split_last_chunk::<8>()?;
    let length = usize::try_from(u64::from_le_bytes(*length)).ok()?;
    let start = rest.len().checked_sub(length)?;
    std::str::from_utf8(rest.get(start..)?).ok()
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
        // After the canonical form, each length behind its text: read from the end, the bytes are unambiguous.
        canonical.extend_scope(tenant.as_bytes());
        canonical.extend_scope(&(tenant.len() as u64).to_le_bytes());
        canonical.extend_scope(&model_identity.to_le_bytes());
        let (form, question_bytes) = canonical.into_form();
        Self::of_form(secret, KeyForm::new(form.into(), question_bytes))
    }

    /// The key of a question in a scope whose bytes are known.
    #[must_use]
    pub(crate) fn in_scope(secret: &HashSecret, scope: &[u8], question: &str) -> Self {
        let bytes = [question.as_bytes(), scope].concat();
        Self::of_form(secret, KeyForm::new(bytes.into(), question.len()))
    }

    fn of_form(secret: &HashSecret, form: KeyForm) -> Self {
        let scope = xxh3_128_with_secret(form.scope(), &*secret.0);
        let question = form.bytes.get(..form.question_bytes as usize);
        let hash = xxh3_128_with_secret(question.unwrap_or_default(), &*secret.0);
        Self {
            // Rotated, so that a question with the same bytes as its scope does not cancel it.
            exact: scope ^ hash.rotate_left(32),
            scope,
            form,
        }
    }

    /// The bytes of the scope: tenant, resolved model, policy epoch, and everything of the request except
    /// the question.
    #[must_use]
    pub(crate) fn scope_bytes(&self) -> &[u8] {
        self.form.scope()
    }

    /// The question.
    #[must_use]
    pub(crate) fn question(&self) -> &str {
        self.form.question()
    }

    pub(crate) fn form(&self) -> &KeyForm {
        &self.form
    }

    /// Whether both keys are of exactly the same request.
    #[must_use]
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        self.form == other.form
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
    fn keys_differ_by_tenant_and_by_question() {
        let a = key("a", "q");
        assert_eq!(a.exact, key("a", "q").exact);
        assert_ne!(a.exact, key("b", "q").exact);
        assert_ne!(a.scope, key("b", "q").scope);
        assert_eq!(a.scope, key("a", "other").scope);
        assert_ne!(a.exact, key("a", "other").exact);
        assert_eq!(tenant_of(key("key:a", "q").scope_bytes()), Some("key:a"));
        assert_eq!(tenant_of(b"short"), None);
    }
}
