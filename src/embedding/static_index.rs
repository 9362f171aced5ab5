//! The static vectors of one scope, scanned in full: does any of them reach a given similarity?
//!
//! The scan takes a few microseconds on the data core and can spare a run of the model. It must not know which
//! similarity is enough: the caller passes it.

use crate::embedding::codes::{Pairs, QueryCode, bytes, pair, scale, with_wide_registers};
use crate::embedding::index::push_compact;
use crate::embedding::table::{STATIC_DIMENSIONS, StaticVector};

/// Components compared first. They are sorted by variance (principal components): of 10,000 stored
/// questions, 6 in 100 remain to be compared in full (with 32 components: 38, and twice the time).
const HEAD: usize = 64;
const TAIL: usize = STATIC_DIMENSIONS - HEAD;
const HEAD_PAIRS: usize = HEAD / 2;
const TAIL_PAIRS: usize = TAIL / 2;

/// Most codes that are stored and scanned: the data core must not scan for longer than a look-up takes.
/// A larger scope drops its codes, and none of its look-ups ends before the model runs.
pub const SCANNED_MAX: usize = 16_384;

/// A static vector, quantised both as a stored code and as a query.
pub struct StaticCode {
    stored: (Head, Pairs<TAIL_PAIRS>),
    head: QueryCode<HEAD_PAIRS>,
    tail: QueryCode<TAIL_PAIRS>,
    tail_length: f32,
}

/// The first components of a stored vector.
#[derive(Debug, Clone, Copy)]
struct Head {
    pairs: Pairs<HEAD_PAIRS>,
    /// 1 ÷ the length of head and tail.
    scale: f32,
    /// Length of the tail, where the whole has length one.
    tail_length: f32,
}

/// Bytes that an index takes for each code.
pub const STATIC_ENTRY_BYTES: usize = size_of::<Head>() + size_of::<Pairs<TAIL_PAIRS>>();

impl StaticCode {
    /// Quantises a vector; `None` for a zero vector.
    #[must_use]
    pub fn new(vector: &StaticVector) -> Option<Self> {
        let length = length(vector);
        if !(length > 0.0 && length.is_finite()) {
            return None;
        }
        let (first, rest) = vector.split_at(HEAD);
        let code: [i8; STATIC_DIMENSIONS] = bytes(vector);
        let scale = scale(&code);
        let (head, tail) = code.split_at(HEAD);
        let stored = Head {
            pairs: pair::<HEAD, HEAD_PAIRS>(head.try_into().ok()?),
            scale,
            tail_length: length_of_code(tail) * scale,
        };
        Some(Self {
            stored: (stored, pair::<TAIL, TAIL_PAIRS>(tail.try_into().ok()?)),
            head: QueryCode::new(first, length),
            tail: QueryCode::new(rest, length),
            tail_length: self::length(rest) / length,
        })
    }

    /// Cosine to another code, exact within about a hundredth.
    #[must_use]
    pub fn cosine(&self, other: &Self) -> f32 {
        let (head, tail) = &other.stored;
        (self.head.dot(&head.pairs) + self.tail.dot(tail)) * head.scale
    }
}

fn length(vector: &[f32]) -> f32 {
    vector.iter().map(|x| x * x).sum::<f32>().sqrt()
}

fn length_of_code(code: &[i8]) -> f32 {
    let scale = scale(code);
    if scale > 0.0 { scale.recip() } else { 0.0 }
}

/// The codes of a scope. Heads and tails are stored apart, so that a scan reads little memory.
#[derive(Default)]
pub struct StaticIndex {
    heads: Vec<Head>,
    tails: Vec<Pairs<TAIL_PAIRS>>,
    overflowed: bool,
}

impl StaticIndex {
    /// Appends a code.
    pub fn insert(&mut self, code: &StaticCode) {
        if self.heads.len() >= SCANNED_MAX {
            *self = Self {
                overflowed: true,
                ..Self::default()
            };
        }
        if !self.overflowed {
            let (head, tail) = code.stored;
            push_compact(&mut self.heads, head);
            push_compact(&mut self.tails, tail);
        }
    }

    /// Removes the code at a position; the last code takes that position.
    pub fn remove(&mut self, position: usize) {
        debug_assert_eq!(self.heads.len(), self.tails.len());
        if position < self.heads.len() {
            self.heads.swap_remove(position);
            self.tails.swap_remove(position);
            let len = self.heads.len();
            if self.heads.capacity() > 2 * len + 8 {
                self.heads.shrink_to(len);
                self.tails.shrink_to(len);
            }
        }
    }

    /// Whether the cosine of any code to the query is at least `cosine_min`; true when the codes were
    /// dropped. An upper bound (Cauchy-Schwarz on the tails) excludes most codes before their tails are read.
    #[must_use]
    pub fn reaches(&self, query: &StaticCode, cosine_min: f32) -> bool {
        self.overflowed
            || with_wide_registers(
                #[inline(always)]
                || self.any_reaches(query, cosine_min),
            )
    }

    #[inline(always)]
    fn any_reaches(&self, query: &StaticCode, cosine_min: f32) -> bool {
        self.heads.iter().zip(&self.tails).any(|(head, tail)| {
            let head_cosine = query.head.dot(&head.pairs) * head.scale;
            head_cosine + query.tail_length * head.tail_length >= cosine_min
                && head_cosine + query.tail.dot(tail) * head.scale >= cosine_min
        })
    }

    /// Memory held, in bytes.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.heads.capacity() * size_of::<Head>()
            + self.tails.capacity() * size_of::<Pairs<TAIL_PAIRS>>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::embedding::table::static_cosine;

    fn vector(seed: u32) -> StaticVector {
        let mut state = seed.wrapping_mul(2_654_435_761) | 1;
        std::array::from_fn(|_| {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            (state % 2001) as f32 / 1000.0 - 1.0
        })
    }

    #[test]
    fn codes_preserve_the_cosine_and_the_index_finds_near_codes() {
        let mut index = StaticIndex::default();
        for seed in 1..200 {
            let (a, b) = (vector(seed), vector(seed + 1));
            let (code_a, code_b) = (StaticCode::new(&a).unwrap(), StaticCode::new(&b).unwrap());
            assert!((code_a.cosine(&code_b) - static_cosine(&a, &b)).abs() < 0.01);
            index.insert(&code_a);
        }
        let query = StaticCode::new(&vector(77)).unwrap();
        assert!(index.reaches(&query, 0.99));
        index.remove(76);
        assert!(!index.reaches(&query, 0.9));
        assert_eq!(index.heads.len(), 198);
        assert!(StaticCode::new(&[0.0; STATIC_DIMENSIONS]).is_none());
    }

    #[test]
    fn a_large_scope_is_not_scanned() {
        let mut index = StaticIndex::default();
        let code = StaticCode::new(&vector(1)).unwrap();
        for _ in 0..SCANNED_MAX {
            index.insert(&code);
        }
        let other = StaticCode::new(&vector(9)).unwrap();
        assert!(!index.reaches(&other, 0.9));
        index.insert(&code);
        // Without its codes the index excludes nothing.
        assert!(index.reaches(&other, 0.9));
        assert_eq!(index.memory_bytes(), 0);
    }
}
