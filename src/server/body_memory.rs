//! The memory that the request bodies of one core take: what is held, and for whom. It must not know how a body is read.

use crate::base::names::Name;
use crate::error::code::ErrorCode;
use crate::error::gateway_error::GatewayError;
use crate::observability::metrics::process::BodyLimit;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;

/// How many bytes of request bodies a core holds at most. A single body of `server.body_max` always fits.
#[derive(Debug, Clone)]
pub struct BodyMemoryLimits {
    /// Of all requests.
    pub core_bytes_max: usize,
    /// Of the requests of one key.
    pub key_bytes_max: usize,
    /// Of all requests without a key, where no keys are configured.
    pub keyless_bytes_max: usize,
}

/// The bytes of request bodies that one core holds.
pub struct BodyMemory {
    limits: BodyMemoryLimits,
    held_bytes: Cell<usize>,
    /// By key; `None` are the callers without one. Only who holds bytes has an entry.
    held_bytes_by_key: RefCell<HashMap<Option<Name>, usize, foldhash::fast::RandomState>>,
    refused: RefCell<HashMap<BodyLimit, u64>>,
}

/// The bytes that one request body holds; dropping it releases them.
pub struct BodyReservation {
    memory: Rc<BodyMemory>,
    key: Option<Name>,
    bytes: usize,
}

impl BodyMemory {
    /// No bytes yet.
    #[must_use]
    pub fn new(limits: BodyMemoryLimits) -> Self {
        Self {
            limits,
            held_bytes: Cell::default(),
            held_bytes_by_key: RefCell::default(),
            refused: RefCell::default(),
        }
    }

    /// A reservation of no bytes for a request of `key`.
    #[must_use]
    pub fn reservation(self: &Rc<Self>, key: Option<Name>) -> BodyReservation {
        BodyReservation {
            memory: Rc::clone(self),
            key,
            bytes: 0,
        }
    }

    /// The bytes held now.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.held_bytes.get()
    }

    /// How many bodies each limit has refused.
    pub(crate) fn refused(&self) -> Vec<(BodyLimit, u64)> {
        let refused = self.refused.borrow();
        refused
            .iter()
            .map(|(limit, count)| (*limit, *count))
            .collect()
    }

    /// The limit that so many more bytes for `key` would exceed.
    fn exceeded(&self, key: Option<Name>, more: usize) -> Option<(BodyLimit, usize)> {
        let limits = &self.limits;
        let held_by_key = self.held_bytes_by_key.borrow();
        let by_key = held_by_key.get(&key).copied().unwrap_or(0);
        let of_key = match key {
            Some(_) => (BodyLimit::Key, limits.key_bytes_max),
            None => (BodyLimit::Keyless, limits.keyless_bytes_max),
        };
        if by_key.saturating_add(more) > of_key.1 {
            return Some(of_key);
        }
        let of_core = (BodyLimit::Core, limits.core_bytes_max);
        (self.held_bytes.get().saturating_add(more) > of_core.1).then_some(of_core)
    }
}

impl BodyReservation {
    /// Checks that a body of so many bytes would fit now.
    ///
    /// # Errors
    /// 503 that names the limit.
    pub fn check(&self, bytes: usize) -> Result<(), GatewayError> {
        let more = bytes.saturating_sub(self.bytes);
        let Some((limit, bytes_max)) = self.memory.exceeded(self.key, more) else {
            return Ok(());
        };
        *self.memory.refused.borrow_mut().entry(limit).or_default() += 1;
        Err(refusal(limit, bytes_max))
    }

    /// Grows the reservation to so many bytes.
    ///
    /// # Errors
    /// 503 that names the limit; the reservation is unchanged.
    pub fn grow_to(&mut self, bytes: usize) -> Result<(), GatewayError> {
        if bytes <= self.bytes {
            return Ok(());
        }
        self.check(bytes)?;
        let memory = &self.memory;
        let more = bytes - self.bytes;
        memory.held_bytes.set(memory.held_bytes.get() + more);
        *memory
            .held_bytes_by_key
            .borrow_mut()
            .entry(self.key)
            .or_default() += more;
        self.bytes = bytes;
        Ok(())
    }
}

impl Drop for BodyReservation {
    fn drop(&mut self) {
        if self.bytes == 0 {
            return;
        }
        let memory = &self.memory;
        memory
            .held_bytes
            .set(memory.held_bytes.get().saturating_sub(self.bytes));
        let mut by_key = memory.held_bytes_by_key.borrow_mut();
        if let Some(held) = by_key.get_mut(&self.key) {
            *held = held.saturating_sub(self.bytes);
            if *held == 0 {
                by_key.remove(&self.key);
            }
        }
    }
}

/// Makes room in `body` for the `more` bytes that have arrived: memory follows what arrived, never what was announced.
///
/// # Errors
/// 503: the body's caller, or the core, holds too many bytes.
pub(crate) fn make_room(
    reservation: Option<&mut BodyReservation>,
    body: &mut Vec<u8>,
    more: usize,
    bytes_max: usize,
) -> Result<(), GatewayError> {
    let wanted = body.len() + more;
    let capacity = match wanted > body.capacity() {
        true => (2 * body.capacity()).min(bytes_max).max(wanted),
        false => body.capacity(),
    };
    if let Some(reservation) = reservation {
        reservation.grow_to(capacity)?;
    }
    if capacity > body.capacity() {
        body.reserve_exact(capacity - body.len());
    }
    Ok(())
}

fn refusal(limit: BodyLimit, bytes_max: usize) -> GatewayError {
    let (whose, setting) = match limit {
        BodyLimit::Core => ("of all requests", "server.bodies_per_core_max"),
        BodyLimit::Key => ("of this key's requests", "server.bodies_per_key_max"),
        BodyLimit::Keyless => ("of requests without a key", "server.bodies_keyless_max"),
    };
    let message = format!(
        "the bodies {whose} on this core would take more than {bytes_max} bytes ({setting})"
    );
    let mut error = GatewayError::new(ErrorCode::BodyMemoryExhausted, message);
    error.retry_after = Some("1".into());
    error
}

#[cfg(test)]
mod tests {
    use super::*;

    fn memory() -> Rc<BodyMemory> {
        Rc::new(BodyMemory::new(BodyMemoryLimits {
            core_bytes_max: 100,
            key_bytes_max: 60,
            keyless_bytes_max: 40,
        }))
    }

    #[test]
    fn each_limit_refuses_by_its_name_and_what_is_dropped_fits_again() {
        let memory = memory();
        let [a, b] = ["a", "b"].map(|name| Some(Name::new(name)));
        let mut first = memory.reservation(a);
        first.grow_to(60).unwrap();
        first.grow_to(10).unwrap();
        let refused = memory.reservation(a).check(1).unwrap_err();
        assert_eq!(
            (refused.status, refused.retry_after.as_deref()),
            (503, Some("1"))
        );
        assert!(refused.message.contains("server.bodies_per_key_max"));
        let mut second = memory.reservation(b);
        let refused = second.grow_to(41).unwrap_err();
        assert!(refused.message.contains("server.bodies_per_core_max"));
        second.grow_to(40).unwrap();
        assert_eq!(memory.held_bytes(), 100);
        drop(first);
        let mut keyless = memory.reservation(None);
        let refused = keyless.grow_to(41).unwrap_err();
        assert!(refused.message.contains("server.bodies_keyless_max"));
        keyless.grow_to(40).unwrap();
        drop((second, keyless));
        assert_eq!(memory.held_bytes(), 0);
        assert!(memory.held_bytes_by_key.borrow().is_empty());
        assert_eq!(
            memory.refused().iter().map(|(_, count)| count).sum::<u64>(),
            3
        );
    }
}
