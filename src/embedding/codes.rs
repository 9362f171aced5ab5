//! Vectors in one byte per component, and their cosine to a question's vector.
//!
//! Each vector is scaled so that its largest component becomes ±127: with a fixed scale, unit vectors
//! of 384 components, of which most are near 0.05, would use three of the eight bits. The scale is not
//! kept: a cosine needs the length of the code only. Two bytes lie in one 16-bit number, because the
//! baseline instruction set multiplies those eight at a time, and taking them apart costs two shifts.
//!
//! Must not know: ids, entries, or how vectors are searched.

use crate::embedding::pool::DIMENSIONS;

/// Largest code.
const CODE_MAX: f32 = 127.0;
/// Length of a question in whole numbers. The products of a question with a code, and each of their
/// sums, stay below 127 × 256 × √384 × 3000 < 2³¹ (Cauchy-Schwarz).
const ASKED_LENGTH: f32 = 3000.0;
/// Pairs of components.
const PAIRS: usize = DIMENSIONS / 2;

/// Bytes of a code.
pub const CODE_BYTES: usize = DIMENSIONS;

/// Signed bytes, two in each number: the first half of the components low, the second half high.
pub type Pairs<const N: usize> = [i16; N];

/// A stored vector.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Code {
    /// The components.
    pub pairs: Pairs<PAIRS>,
    /// 1 ÷ the length of the components; 0 of a vector without direction.
    pub scale: f32,
}

/// A vector to compare with codes: whole numbers, the two halves apart as the codes have them.
pub struct QueryCode<const N: usize> {
    low: [i16; N],
    high: [i16; N],
}

/// A vector to compare with [`Code`]s.
pub type QueryVector = QueryCode<PAIRS>;

impl Code {
    /// The code of a vector; components beyond [`DIMENSIONS`] are ignored.
    #[must_use]
    pub fn new(vector: &[f32]) -> Self {
        Self::from_bytes(&bytes(vector))
    }

    /// The code of these components.
    #[must_use]
    pub fn from_bytes(bytes: &[i8; CODE_BYTES]) -> Self {
        Self {
            pairs: pair(bytes),
            scale: scale(bytes),
        }
    }

    /// Its components.
    #[must_use]
    pub fn to_bytes(&self) -> [i8; CODE_BYTES] {
        let mut bytes = [0; CODE_BYTES];
        let (low, high) = bytes.split_at_mut(PAIRS);
        for ((low, high), pair) in low.iter_mut().zip(high).zip(&self.pairs) {
            [*low, *high] = pair.to_le_bytes().map(u8::cast_signed);
        }
        bytes
    }

    /// Cosine to a question.
    #[must_use]
    #[inline(always)]
    pub fn cosine(&self, asked: &QueryVector) -> f32 {
        // Rounding may carry a vector's cosine to itself past one.
        (asked.dot(&self.pairs) * self.scale).min(1.0)
    }
}

/// 1 ÷ the length of these components; 0 when all are 0.
#[must_use]
pub fn scale(bytes: &[i8]) -> f32 {
    let square = bytes.iter().map(|x| i32::from(*x) * i32::from(*x));
    let length = (square.sum::<i32>() as f32).sqrt();
    if length > 0.0 { length.recip() } else { 0.0 }
}

/// Puts two bytes into each number.
///
/// # Panics
/// Never: the sizes are checked when this is compiled.
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

/// `vector` in one byte per component, in units of a scale of its own.
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
        // In range by the choice of scale.
        *byte = (x * scale).round() as i8;
    }
    bytes
}

impl<const N: usize> QueryCode<N> {
    /// Of the first 2 `N` components of a vector of length `length`.
    #[must_use]
    pub fn new(vector: &[f32], length: f32) -> Self {
        let unit = if length > 0.0 {
            ASKED_LENGTH / length
        } else {
            0.0
        };
        let (mut low, mut high) = ([0; N], [0; N]);
        for (part, x) in low.iter_mut().chain(&mut high).zip(vector) {
            *part = (x * unit).round() as i16;
        }
        Self { low, high }
    }

    /// The question as a vector of length one, times the components of a code.
    #[must_use]
    #[inline(always)]
    #[allow(clippy::cast_precision_loss)]
    pub fn dot(&self, pairs: &Pairs<N>) -> f32 {
        // Both bytes stay 256 times what they are, the high one where it is: one sum for both.
        let mut sum = 0;
        for ((pair, x), y) in pairs.iter().zip(&self.low).zip(&self.high) {
            sum += i32::from(*pair << 8) * i32::from(*x);
            sum += i32::from(*pair & !0xff) * i32::from(*y);
        }
        sum as f32 / (256.0 * ASKED_LENGTH)
    }
}

/// Runs `work` compiled for the widest vector registers that this processor has, if what it calls is
/// inlined into it.
#[inline(always)]
pub fn with_wide_registers<T>(work: impl FnOnce() -> T) -> T {
    pulp::Arch::new().dispatch(work)
}

/// Dot product.
pub fn dot(a: &[f32], b: &[f32]) -> f32 {
    // Sixteen sums side by side, because the compiler may not reorder one.
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
    fn a_code_keeps_its_bytes_and_the_cosine() {
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
        let none = Code::new(&[0.0; DIMENSIONS]);
        assert_eq!(none.cosine(&QueryVector::new(&flat, 1.0)), 0.0);
    }
}
