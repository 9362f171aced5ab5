//! The static vectors of one scope, scanned whole: is anything near at all?
//!
//! A few microseconds on the data core instead of a run of the model. Must not know what near means to
//! whom: the floor is handed in.

use super::table::{STATIC_DIMENSIONS, StaticVector};

/// Components looked at first. They are sorted by how much they tell (principal components): of 10,000
/// stored questions they leave 6 in 100 to be looked at whole (32 components: 38, and twice the time).
const HEAD: usize = 64;
/// The other components.
const TAIL: usize = STATIC_DIMENSIONS - HEAD;

/// A static vector of length one in small integers: two bytes per component, which every x86-64
/// multiplies eight at a time.
#[derive(Debug, Clone, Copy)]
pub struct StaticCode {
    head: Head,
    tail: [i16; TAIL],
}

#[derive(Debug, Clone, Copy)]
struct Head {
    components: [i16; HEAD],
    /// Length of the tail.
    tail_length: f32,
}

/// Bytes that an entry takes here: its code, its id, and as much again for growth.
pub const STATIC_ENTRY_BYTES: u64 = 2 * (2 * STATIC_DIMENSIONS as u64 + 4 + 8);

/// What a component of 1 is coded as: products of two and their sums stay far within 32 bits.
const ONE: f32 = 4096.0;

impl StaticCode {
    /// The code of a vector; `None` of one without direction.
    #[must_use]
    pub fn new(vector: &StaticVector) -> Option<Self> {
        let length = vector.iter().map(|x| x * x).sum::<f32>().sqrt();
        if !(length > 0.0 && length.is_finite()) {
            return None;
        }
        let coded = |x: &f32| (x / length * ONE).round() as i16;
        let (mut head, mut tail) = ([0; HEAD], [0; TAIL]);
        for (part, x) in head.iter_mut().chain(&mut tail).zip(vector) {
            *part = coded(x);
        }
        let rest = vector.iter().skip(HEAD).map(|x| x * x).sum::<f32>();
        let head = Head {
            components: head,
            tail_length: rest.sqrt() / length,
        };
        Some(Self { head, tail })
    }

    /// Cosine to another, within about a thousandth.
    #[must_use]
    pub fn cosine(&self, other: &Self) -> f32 {
        self.cosine_to(&other.head, &other.tail)
    }

    fn cosine_to(&self, head: &Head, tail: &[i16; TAIL]) -> f32 {
        dot(&self.head.components, &head.components) + dot(&self.tail, tail)
    }
}

impl Head {
    /// No cosine of two codes with these heads is above this (Cauchy-Schwarz on the tails).
    fn cosine_bound(&self, other: &Self) -> f32 {
        dot(&self.components, &other.components) + self.tail_length * other.tail_length
    }
}

/// Dot product of two equally long parts.
#[allow(clippy::cast_precision_loss)]
fn dot<const N: usize>(a: &[i16; N], b: &[i16; N]) -> f32 {
    let products = a.iter().zip(b);
    let sum: i32 = products.map(|(x, y)| i32::from(*x) * i32::from(*y)).sum();
    sum as f32 / (ONE * ONE)
}

/// Codes of a scope, heads and tails apart so that a scan reads little.
#[derive(Default)]
pub struct StaticIndex {
    ids: Vec<u64>,
    heads: Vec<Head>,
    tails: Vec<[i16; TAIL]>,
}

impl StaticIndex {
    /// Adds a code.
    pub fn insert(&mut self, id: u64, code: StaticCode) {
        self.ids.push(id);
        self.heads.push(code.head);
        self.tails.push(code.tail);
    }

    /// Removes a code, if it is there.
    pub fn remove(&mut self, id: u64) {
        if let Some(at) = self.ids.iter().position(|one| *one == id) {
            self.ids.swap_remove(at);
            self.heads.swap_remove(at);
            self.tails.swap_remove(at);
        }
    }

    /// Whether any code is at least this near. The bound rules most out, and nothing that is near.
    #[must_use]
    pub fn reaches(&self, asked: &StaticCode, cosine_min: f32) -> bool {
        self.heads.iter().zip(&self.tails).any(|(head, tail)| {
            asked.head.cosine_bound(head) >= cosine_min && asked.cosine_to(head, tail) >= cosine_min
        })
    }

    /// Codes held.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// True when there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::super::table::static_cosine;
    use super::*;

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
    fn codes_keep_the_cosine_and_the_index_finds_what_is_near() {
        let mut index = StaticIndex::default();
        for seed in 1..200 {
            let (a, b) = (vector(seed), vector(seed + 1));
            let (code_a, code_b) = (StaticCode::new(&a).unwrap(), StaticCode::new(&b).unwrap());
            assert!((code_a.cosine(&code_b) - static_cosine(&a, &b)).abs() < 0.002);
            index.insert(u64::from(seed), code_a);
        }
        let asked = StaticCode::new(&vector(77)).unwrap();
        assert!(index.reaches(&asked, 0.99));
        index.remove(77);
        assert!(!index.reaches(&asked, 0.9));
        assert_eq!(index.len(), 198);
        assert!(StaticCode::new(&[0.0; STATIC_DIMENSIONS]).is_none());
    }
}
