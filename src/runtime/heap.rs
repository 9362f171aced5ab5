//! Futures on the heap. Large ones that are rarely waited for would make every task that could wait for
//! them as large.

use std::pin::Pin;

/// Puts the future that `make` makes on the heap, written where it stays: `Box::pin` makes it on the stack
/// and moves all of its bytes, of which a new future uses few.
#[inline(always)]
pub(crate) fn on_heap<F: Future>(make: impl FnOnce() -> F) -> Pin<Box<F>> {
    Box::into_pin(Box::write(Box::new_uninit(), make()))
}
