//! Byte buffers, pooled per core thread by size class, so that the warm path does not allocate.

use std::cell::RefCell;

/// Capacity of the buffers in each class, in bytes.
pub(crate) const CLASS_BYTES: [usize; 3] = [4 * 1024, 16 * 1024, 64 * 1024];

/// Most bytes per class and core that are pooled; further buffers are freed. In the smallest class this is enough for
/// a thousand requests in flight.
pub(crate) const POOLED_BYTES_PER_CLASS_MAX: usize = 4 * 1024 * 1024;

/// A block so large that the allocator returns it to the system.
const LARGE_BYTES: usize = 4 * 1024 * 1024;

#[derive(Default)]
struct BufferPool {
    classes: [Vec<Vec<u8>>; CLASS_BYTES.len()],
    /// The fewest buffers that were unused in each class since the last trim.
    unused: [usize; CLASS_BYTES.len()],
    pooled_bytes_high: usize,
}

thread_local! {
    static POOL: RefCell<BufferPool> = RefCell::default();
}

/// An empty buffer with at least `bytes_min` of capacity.
#[must_use]
pub(crate) fn take(bytes_min: usize) -> Vec<u8> {
    let Some(class) = CLASS_BYTES.iter().position(|size| bytes_min <= *size) else {
        return Vec::with_capacity(bytes_min);
    };
    let pooled = POOL.with_borrow_mut(|pool| {
        let buffer = pool.classes[class].pop();
        pool.unused[class] = pool.unused[class].min(pool.classes[class].len());
        buffer
    });
    pooled.unwrap_or_else(|| Vec::with_capacity(CLASS_BYTES[class]))
}

/// Frees the pooled buffers of this thread that were not used since the last call.
pub(crate) fn trim() {
    POOL.with_borrow_mut(|pool| {
        for (buffers, unused) in pool.classes.iter_mut().zip(&mut pool.unused) {
            // The buffers at the front were returned first and are taken last.
            buffers.drain(..(*unused).min(buffers.len()));
            *unused = buffers.len();
        }
    });
    // The allocator returns memory to the system a second after it was freed, but only when a large block is freed.
    drop(std::hint::black_box(Vec::<u8>::with_capacity(LARGE_BYTES)));
}

/// Returns a buffer to this thread's pool. Buffers outside the classes are freed.
pub(crate) fn give(mut buffer: Vec<u8>) {
    let capacity = buffer.capacity();
    // The largest class that the buffer can serve. A buffer that grew far beyond the last class is freed.
    let Some(class) = CLASS_BYTES.iter().rposition(|size| capacity >= *size) else {
        return;
    };
    if capacity > 2 * CLASS_BYTES[CLASS_BYTES.len() - 1] {
        return;
    }
    buffer.clear();
    POOL.with_borrow_mut(|pool| {
        if (pool.classes[class].len() + 1) * CLASS_BYTES[class] <= POOLED_BYTES_PER_CLASS_MAX {
            pool.classes[class].push(buffer);
            let bytes = pool.bytes();
            pool.pooled_bytes_high = pool.pooled_bytes_high.max(bytes);
        }
    });
}

impl BufferPool {
    fn bytes(&self) -> usize {
        self.classes
            .iter()
            .zip(CLASS_BYTES)
            .map(|(buffers, size)| buffers.len() * size)
            .sum()
    }
}

/// Bytes held by this thread's pool now, and the most it ever held.
#[must_use]
pub(crate) fn pooled_bytes() -> (usize, usize) {
    POOL.with_borrow(|pool| (pool.bytes(), pool.pooled_bytes_high))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_returned_buffer_is_used_again_and_is_empty() {
        let mut buffer = take(100);
        assert!(buffer.capacity() >= CLASS_BYTES[0]);
        buffer.extend_from_slice(b"left over");
        let at = buffer.as_ptr();
        give(buffer);
        let again = take(1);
        assert_eq!(again.as_ptr(), at);
        assert!(again.is_empty());
    }

    #[test]
    fn buffers_unused_between_two_trims_are_freed() {
        let buffers: Vec<_> = (0..10).map(|_| take(1)).collect();
        buffers.into_iter().for_each(give);
        trim();
        let three: Vec<_> = (0..3).map(|_| take(1)).collect();
        three.into_iter().for_each(give);
        trim();
        assert_eq!(pooled_bytes().0, 3 * CLASS_BYTES[0]);
        trim();
        assert_eq!(pooled_bytes().0, 0);
    }

    #[test]
    fn the_pool_is_bounded_and_small_or_huge_buffers_are_freed() {
        for _ in 0..2 * POOLED_BYTES_PER_CLASS_MAX / CLASS_BYTES[1] {
            give(Vec::with_capacity(CLASS_BYTES[1]));
        }
        give(Vec::with_capacity(10));
        give(Vec::with_capacity(10 * CLASS_BYTES[2]));
        let (now, high) = pooled_bytes();
        assert!(now <= CLASS_BYTES.len() * POOLED_BYTES_PER_CLASS_MAX);
        assert!(high >= now);
    }
}
