//! Sealed ids of stored responses. A seal proves that an id was given to the tenant that presents it, by the provider and API
//! key that the gateway tries it with. It must not know what an id stands for.

use ring::hmac;

/// Characters that a seal adds to an id: `_` and half of an HMAC-SHA256 (RFC 2104, 5) in hexadecimal.
pub(crate) const SEAL_CHARS: usize = 1 + 2 * TAG_BYTES;
/// Longest id that is sealed, in bytes. OpenAI's have about 60.
pub(crate) const ID_BYTES_MAX: usize = 256;

const TAG_BYTES: usize = 16;
/// Begins every sealed text, so that a seal for another purpose or of another version never matches.
const LABEL: &[u8] = b"ringside response id, 1";

/// Seals the ids of responses that one API key of one provider created for one tenant.
#[derive(Clone)]
pub(crate) struct ResponseIdSeal(hmac::Context);

impl ResponseIdSeal {
    /// The seal of a provider's API key (`secret`) for a tenant. It is the same in all replicas and after a restart.
    #[must_use]
    pub(crate) fn new(secret: &str, provider: &str, tenant: &str) -> Self {
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
        let mut context = hmac::Context::with_key(&key);
        for part in [LABEL, provider.as_bytes(), tenant.as_bytes()] {
            // The length precedes each part, so that different parts never give the same text.
            context.update(&(part.len() as u64).to_le_bytes());
            context.update(part);
        }
        Self(context)
    }

    /// Whether `id` can be sealed: it needs no escapes in a path or in JSON, and it is not too long.
    #[must_use]
    pub(crate) fn can_seal(id: &str) -> bool {
        (1..=ID_BYTES_MAX).contains(&id.len()) && id.bytes().all(Self::is_id_byte)
    }

    /// Whether an id with this byte can be sealed.
    #[must_use]
    pub(crate) fn is_id_byte(byte: u8) -> bool {
        byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-')
    }

    /// The seal that is appended to `id`.
    #[must_use]
    pub(crate) fn of(&self, id: &str) -> [u8; SEAL_CHARS] {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut context = self.0.clone();
        context.update(id.as_bytes());
        let tag = context.sign();
        let mut seal = [b'_'; SEAL_CHARS];
        let digits = tag.as_ref().iter().flat_map(|byte| [byte >> 4, byte & 15]);
        for (character, digit) in seal.iter_mut().skip(1).zip(digits) {
            *character = DIGITS.get(usize::from(digit)).copied().unwrap_or_default();
        }
        seal
    }

    /// The id within `sealed`; `None` if this seal did not seal it.
    #[must_use]
    pub(crate) fn open<'i>(&self, sealed: &'i str) -> Option<&'i str> {
        let (id, given) = sealed.split_at_checked(sealed.len().checked_sub(SEAL_CHARS)?)?;
        let own = self.of(id);
        // Every byte is compared, so that the time does not depend on the first difference.
        let pairs = own.iter().zip(given.as_bytes());
        let differs = pairs.fold(0, |differs, (own, given)| differs | (own ^ given));
        (differs == 0 && Self::can_seal(id)).then_some(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealed(seal: &ResponseIdSeal, id: &str) -> String {
        format!("{id}{}", String::from_utf8_lossy(&seal.of(id)))
    }

    #[test]
    fn only_the_same_key_provider_and_tenant_open_an_id() {
        let seal = ResponseIdSeal::new("sk-1", "openai", "key:a");
        let id = sealed(&seal, "resp_0a1B-2");
        assert_eq!(id.len(), "resp_0a1B-2".len() + SEAL_CHARS);
        assert!(ResponseIdSeal::can_seal(&id));
        assert_eq!(seal.open(&id), Some("resp_0a1B-2"));
        for other in [
            ResponseIdSeal::new("sk-2", "openai", "key:a"),
            ResponseIdSeal::new("sk-1", "openai2", "key:a"),
            ResponseIdSeal::new("sk-1", "openai", "key:b"),
            ResponseIdSeal::new("sk-1", "open", "aikey:a"),
            ResponseIdSeal::new("", "openai", "key:a"),
        ] {
            assert_eq!(other.open(&id), None);
        }
    }

    #[test]
    fn a_changed_id_is_not_opened() {
        let seal = ResponseIdSeal::new("sk-1", "openai", "key:a");
        let id = sealed(&seal, "resp_1");
        for index in 0..id.len() {
            let mut bytes = id.clone().into_bytes();
            bytes[index] = if bytes[index] == b'0' { b'1' } else { b'0' };
            assert_eq!(seal.open(std::str::from_utf8(&bytes).unwrap()), None);
            assert_eq!(seal.open(&id[..index]), None);
        }
        assert_eq!(seal.open(&id.to_uppercase()), None);
        assert_eq!(seal.open(&format!("{id}0")), None);
        assert_eq!(seal.open(&sealed(&seal, "")), None);
        assert_eq!(seal.open(&sealed(&seal, "a/b")), None);
        assert_eq!(seal.open(&"é".repeat(20)), None);
    }
}
