//! Request ids: the caller's id if it is safe to echo, or a new one.

use crate::base::random;
use std::cell::Cell;

/// Longest id of a caller that is echoed, in bytes.
pub(crate) const REQUEST_ID_BYTES_MAX: usize = 128;

const HEX_DIGITS: &[u8; 16] = b"0123456789abcdef";

thread_local! {
    static STATE: Cell<u64> = const { Cell::new(0) };
}

/// The caller's id if it has 1 to [`REQUEST_ID_BYTES_MAX`] visible ASCII characters, else a new one.
#[must_use]
pub(crate) fn request_id(callers: Option<&str>) -> String {
    match callers {
        Some(id)
            if (1..=REQUEST_ID_BYTES_MAX).contains(&id.len())
                && id.bytes().all(|byte| byte.is_ascii_graphic()) =>
        {
            id.to_owned()
        }
        _ => new_id(),
    }
}

/// `req_` and 32 hexadecimal digits: unique, but not secret.
fn new_id() -> String {
    let mut id = Vec::with_capacity(36);
    id.extend_from_slice(b"req_");
    for half in [next(), next()] {
        for byte in half.to_be_bytes() {
            let (high, low) = (usize::from(byte >> 4), usize::from(byte & 0xf));
            id.extend_from_slice(&[HEX_DIGITS[high], HEX_DIGITS[low]]);
        }
    }
    String::from_utf8(id).unwrap_or_default()
}

/// A random number. It must not be used for secrets.
#[must_use]
pub(crate) fn random() -> u64 {
    next()
}

/// SplitMix64 (Steele, Lea, Flood 2014), seeded per thread from the system's random source.
fn next() -> u64 {
    STATE.with(|state| {
        let mut seed = state.get();
        if seed == 0 {
            let mut bytes = [0; 8];
            let random = ring::rand::SystemRandom::new();
            if ring::rand::SecureRandom::fill(&random, &mut bytes).is_err() {
                bytes = (fallback_seed() | 1).to_le_bytes();
            }
            seed = u64::from_le_bytes(bytes);
        }
        let (next_state, number) = random::next(seed);
        state.set(next_state);
        number
    })
}

/// A seed for the case that the system's random source fails.
fn fallback_seed() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(std::process::id())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_callers_are_echoed_only_if_harmless() {
        assert_eq!(request_id(Some("abc-1")), "abc-1");
        for bad in ["", "a b", "a\r\nb", &"x".repeat(129)] {
            assert!(request_id(Some(bad)).starts_with("req_"));
        }
        assert_ne!(request_id(None), request_id(None));
    }
}
