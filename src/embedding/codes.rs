//! Vectors quantised to one byte per component, and their cosine to a query vector.
//!
//! Each vector is scaled so that its largest component becomes ±127: with a fixed scale, unit vectors
//! of 384 components, most of them near 0.05, would use three of the eight bits. The scale is not
//! stored: a cosine needs only the length of the code. Two bytes share one 16-bit integer, because the
//! baseline instruction set multiplies eight of those at a time, and unpacking costs two shifts.
//!
//! It must not know ids, entries, or how vectors are searched.

use crate::embedding::vector::DIMENSIONS;

/// Largest component of a code.
const CODE_MAX: f32 = 127.0;
/// Length of a query vector in integers. The products of a query with a code, and each of their
/// sums, stay below 127 × 256 × √384 × 3000 < 2³¹ (Cauchy-Schwarz).
const QUERY_LENGTH: f32 = 3000.0;
/// Pairs of components.
const PAIRS: usize = DIMENSIONS / 2;

/// Bytes of a code.
pub const CODE_BYTES: usize = DIMENSIONS;

/// Signed bytes, two in each integer: the first half of the components in the low bytes, the second half in
/// the high bytes.
pub type Pairs<const N: usize> = [i16; N];

/// A quantised vector.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Code {
    /// The components.
    pub pairs: Pairs<PAIRS>,
    /// 1 ÷ the length of the components; 0 for a zero vector.
    pub scale: f32,
}

/// A vector to compare with codes: integers, the two halves apart as in [`Pairs`].
pub struct QueryCode<const N: usize> {
    low: [i16; N],
    high: [i16; N],
}

/// A vector to compare with [`Code`]s.
pub type QueryVector = QueryCode<PAIRS>;

impl Code {
    /// Quantises a vector; components beyond [`DIMENSIONS`] are ignored.
    #[must_use]
    pub fn new(vector: &[f32]) -> Self {
        Self::from_bytes(&bytes(vector))
    }

    /// The code with these components.
    #[must_use]
    pub fn from_bytes(bytes: &[i8; CODE_BYTES]) -> Self {
        Self {
            pairs: pair(bytes),
            scale: scale(bytes),
        }
    }

    /// The components, as [`Code::from_bytes`] takes them.
    #[must_use]
    pub fn to_bytes(&self) -> [i8; CODE_BYTES] {
        let mut bytes = [0; CODE_BYTES];
        let (low, high) = bytes.split_at_mut(PAIRS);
        for ((low, high), pair) in low.iter_mut().zip(high).zip(&self.pairs) {
            [*low, *high] = pair.to_le_bytes().map(u8::cast_signed);
        }
        bytes
    }

    /// Cosine to a query vector.
    #[must_use]
    #[inline(always)]
    pub fn cosine(&self, query: &QueryVector) -> f32 {
        // Rounding can lift the cosine of a vector with itself above one.
        (query.dot(&self.pairs) * self.scale).min(1.0)
    }
}

/// 1 ÷ the length of these components; 0 when every component is 0.
#[must_use]
pub fn scale(bytes: &[i8]) -> f32 {
    let square = bytes.iter().map(|x| i32::from(*x) * i32::from(*x));
    let length = (square.sum::<i32>() as f32).sqrt();
    if length > 0.0 { length.recip() } else { 0.0 }
}

/// Packs two bytes into each integer. The sizes are checked at compile time.
#[must_use]
pub fn pair<const B: usize, const N: usize>(bytes: &[i8; B]) -> Pairs<N> {
    const { assert!(B == 2 * N) };
    let (low, high) = bytes.split_at(N);
    let mut pairs = [0; N];
    for (pair, (low, high)) in pairs.iter_mut().zip(low.iter().zip(high)) {
        *pair = i16::from_le_bytes([low.cast_unsigned(), high.cast_unsigned()]);
    }
    pairs
}

/// Quantises `vector` to one byte per component, so that its largest component becomes ±127.
#[must_use]
pub fn bytes<const B: usize>(vector: &[f32]) -> [i8; B] {
    let largest = vector
        .iter()
        .fold(0.0_f32, |largest, x| largest.max(x.abs()));
    let scale = if largest > 0.0 {
        CODE_MAX / largest
    } else {
        0.0
    };
    let mut bytes = [0; B];
    for (byte, x) in bytes.iter_mut().zip(vector) {
        // The scale keeps it in range.
        *byte = (x * scale).round() as i8;
    }
    bytes
}

impl<const N: usize> QueryCode<N> {
    /// Quantises the first 2 `N` components of a vector whose length is `length`.
    #[must_use]
    pub fn new(vector: &[f32], length: f32) -> Self {
        let unit = if length > 0.0 {
            QUERY_LENGTH / length
        } else {
            0.0
        };
        let (mut low, mut high) = ([0; N], [0; N]);
        for (part, x) in low.iter_mut().chain(&mut high).zip(vector) {
            *part = (x * unit).round() as i16;
        }
        Self { low, high }
    }

    /// Dot product of the query, taken as a vector of length one, with the components of a code.
    #[must_use]
    #[inline(always)]
    pub fn dot(&self, pairs: &Pairs<N>) -> f32 {
        // Both bytes are multiplied by 256 (the high byte stays where it is), so that one sum serves both.
        let mut sum = 0;
        for ((pair, x), y) in pairs.iter().zip(&self.low).zip(&self.high) {
            sum += i32::from(*pair << 8) * i32::from(*x);
            sum += i32::from(*pair & !0xff) * i32::from(*y);
        }
        sum as f32 / (256.0 * QUERY_LENGTH)
    }
}

/// Runs `work` compiled for the widest vector registers of this processor. Only functions that are inlined
/// into `work` benefit.
#[inline(always)]
pub fn with_wide_registers<T>(work: impl FnOnce() -> T) -> T {
    pulp::Arch::new().dispatch(work)
}

/// Dot product; for unit vectors, the cosine. Components beyond a multiple of 16 are ignored.
pub fn dot(a: &[f32], b: &[f32]) -> f32 {
    debug_assert!(
        a.len() == b.len() && a.len().is_multiple_of(16),
        "vectors of one model"
    );
    // Sixteen independent sums: the compiler must not reorder the additions of one sum.
    let mut sums = [0.0_f32; 16];
    for (a, b) in a.chunks_exact(16).zip(b.chunks_exact(16)) {
        for (sum, (a, b)) in sums.iter_mut().zip(a.iter().zip(b)) {
            *sum += a * b;
        }
    }
    sums.iter().sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vector(seed: u32) -> Vec<f32> {
        let mut state = seed.wrapping_mul(2_654_435_761) | 1;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            (state % 2001) as f32 / 1000.0 - 1.0
        };
        let raw: Vec<f32> = (0..DIMENSIONS).map(|_| next()).collect();
        let length = dot(&raw, &raw).sqrt();
        raw.iter().map(|x| x / length).collect()
    }

    #[test]
    fn a_code_preserves_its_bytes_and_the_cosine() {
        for seed in 1..100 {
            let (a, b) = (vector(seed), vector(seed + 1));
            let mixed: Vec<f32> = a.iter().zip(&b).map(|(a, b)| a + 0.3 * b).collect();
            let length = dot(&mixed, &mixed).sqrt();
            let code = Code::new(&a);
            assert_eq!(Code::from_bytes(&code.to_bytes()), code);
            let cosine = code.cosine(&QueryVector::new(&mixed, length));
            let exact = dot(&a, &mixed) / length;
            assert!((cosine - exact).abs() < 0.002, "{cosine} {exact}");
            assert!(code.cosine(&QueryVector::new(&a, 1.0)) > 0.9995);
        }
    }

    #[test]
    fn extremes_do_not_overflow() {
        let flat = vec![(DIMENSIONS as f32).sqrt().recip(); DIMENSIONS];
        for sign in [1.0, -1.0] {
            let signed: Vec<f32> = flat.iter().map(|x| x * sign).collect();
            let cosine = Code::new(&signed).cosine(&QueryVector::new(&flat, 1.0));
            assert!((cosine - sign).abs() < 0.02, "{cosine}");
        }
        let zero = Code::new(&[0.0; DIMENSIONS]);
        assert_eq!(zero.cosine(&QueryVector::new(&flat, 1.0)), 0.0);
    }
}
