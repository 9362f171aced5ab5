//! Futures on the heap. A large future that is rarely awaited would make every task that can await it as large.

use std::pin::Pin;

/// Creates the future of `make` directly on the heap. `Box::pin` creates it on the stack and then moves all of its
/// bytes, although a new future uses few of them.
#[inline(always)]
pub(crate) fn on_heap<F: Future>(make: impl FnOnce() -> F) -> Pin<Box<F>> {
    Box::into_pin(Box::write(Box::new_uninit(), make()))
}
