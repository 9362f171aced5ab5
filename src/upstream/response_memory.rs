//! The memory that whole responses of providers take on one core, until they are sent. It must not know what they hold.

use crate::error::code::ErrorCode;
use crate::error::gateway_error::GatewayError;
use std::cell::Cell;
use std::rc::Rc;

/// Smaller responses are not counted: the number of connections bounds them, and nearly all responses are.
const UNCOUNTED_BYTES_MAX: usize = 64 * 1024;

/// The bytes of whole responses that one core holds.
pub(crate) struct ResponseMemory {
    bytes_max: usize,
    held_bytes: Cell<usize>,
}

/// The bytes that one response holds; dropping it releases them.
pub(crate) struct ResponseReservation {
    memory: Rc<ResponseMemory>,
    bytes: usize,
}

impl ResponseMemory {
    #[must_use]
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self {
            bytes_max,
            held_bytes: Cell::new(0),
        }
    }

    #[must_use]
    pub(crate) fn held_bytes(&self) -> usize {
        self.held_bytes.get()
    }

    /// A reservation of no bytes.
    #[must_use]
    pub(crate) fn reservation(self: &Rc<Self>) -> ResponseReservation {
        ResponseReservation {
            memory: Rc::clone(self),
            bytes: 0,
        }
    }

    /// The error of a response that has no room.
    #[must_use]
    pub(crate) fn refusal(&self) -> GatewayError {
        let message = format!(
            "the responses of providers on this core would take more than {} bytes (server.responses_per_core_max)",
            self.bytes_max
        );
        let mut error = GatewayError::new(ErrorCode::BodyMemoryExhausted, message);
        error.retry_after = Some("1".into());
        error
    }
}

impl ResponseReservation {
    /// Grows the reservation to so many bytes; false if there is no room.
    #[must_use]
    pub(crate) fn grow_to(&mut self, bytes: usize) -> bool {
        if bytes <= self.bytes.max(UNCOUNTED_BYTES_MAX) {
            return true;
        }
        let held = &self.memory.held_bytes;
        let total = held.get() - self.bytes + bytes;
        if total > self.memory.bytes_max {
            return false;
        }
        held.set(total);
        self.bytes = bytes;
        true
    }
}

impl Drop for ResponseReservation {
    fn drop(&mut self) {
        let held = &self.memory.held_bytes;
        held.set(held.get().saturating_sub(self.bytes));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_is_limited_and_released() {
        let memory = Rc::new(ResponseMemory::new(4 * UNCOUNTED_BYTES_MAX));
        let mut small = memory.reservation();
        assert!(small.grow_to(UNCOUNTED_BYTES_MAX));
        assert_eq!(memory.held_bytes(), 0);
        let mut first = memory.reservation();
        assert!(first.grow_to(3 * UNCOUNTED_BYTES_MAX));
        let mut second = memory.reservation();
        assert!(!second.grow_to(2 * UNCOUNTED_BYTES_MAX));
        drop(first);
        assert!(second.grow_to(2 * UNCOUNTED_BYTES_MAX));
        assert!(second.grow_to(4 * UNCOUNTED_BYTES_MAX));
        drop(second);
        assert_eq!(memory.held_bytes(), 0);
        assert!(
            memory
                .refusal()
                .message
                .contains("server.responses_per_core_max")
        );
    }
}
