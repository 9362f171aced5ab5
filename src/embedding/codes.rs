//! Vectors in one byte per component, and the scan over a few thousand of them.
//!
//! Each vector is scaled so that its largest component becomes ±127: with a fixed scale, unit vectors
//! of 384 components, of which most are near 0.05, would use three of the eight bits. What the rounding
//! took away is kept as a length, so that a scan knows how far off it may be, and finds exactly the
//! nearest by comparing only those in full that could be.
//!
//! Must not know: ids, entries, or when a scan is the right search.

use super::DIMENSIONS;

/// Largest code.
const CODE_MAX: f32 = 127.0;
/// For the rounding of the f32 arithmetic itself.
const ARITHMETIC_SLACK: f32 = 1e-5;

/// A vector in one byte per component.
#[derive(Clone)]
pub struct Code {
    /// The components, in units of `scale`.
    pub bytes: [i8; DIMENSIONS],
    scale: f32,
    /// Length of what rounding took away.
    lost: f32,
}

impl Code {
    /// Rounds `vector`, of which components beyond [`DIMENSIONS`] are ignored.
    pub fn of(vector: &[f32]) -> Self {
        let largest = vector
            .iter()
            .fold(0.0_f32, |largest, x| largest.max(x.abs()));
        let scale = if largest > 0.0 {
            largest / CODE_MAX
        } else {
            1.0
        };
        let mut bytes = [0; DIMENSIONS];
        let mut lost = 0.0;
        for (byte, x) in bytes.iter_mut().zip(vector) {
            let code = (x / scale).round();
            // In range by the choice of scale.
            *byte = code as i8;
            lost += (x - code * scale).powi(2);
        }
        Self {
            bytes,
            scale,
            lost: lost.sqrt(),
        }
    }
}

/// Codes one after the other, for a scan that reads memory in order.
#[derive(Default)]
pub struct Codes {
    bytes: Vec<i8>,
    scales_and_losses: Vec<(f32, f32)>,
}

impl Codes {
    /// Appends a vector.
    pub fn push(&mut self, vector: &[f32]) {
        let code = Code::of(vector);
        self.bytes.extend_from_slice(&code.bytes);
        self.scales_and_losses.push((code.scale, code.lost));
    }

    /// Removes the vector at `at`; the last one takes its place.
    pub fn swap_remove(&mut self, at: usize) {
        let last = self.scales_and_losses.len() - 1;
        self.scales_and_losses.swap_remove(at);
        let start = last * DIMENSIONS;
        self.bytes.copy_within(start.., at * DIMENSIONS);
        self.bytes.truncate(start);
    }

    /// Positions of all that can be among the `k` nearest to `query`; usually few more than `k`.
    pub fn candidates(&self, query: &[f32], k: usize) -> Vec<usize> {
        let query = Code::of(query);
        // |q·v − q'·v'| ≤ |q|·|v − v'| + |q − q'|·|v'|, of unit vectors q and v and their codes q', v'.
        let bounds: Vec<(f32, f32)> = self
            .bytes
            .chunks_exact(DIMENSIONS)
            .zip(&self.scales_and_losses)
            .map(|(bytes, (scale, lost))| {
                let near = dot_codes(&query.bytes, bytes) as f32 * query.scale * scale;
                (near, lost + query.lost * (1.0 + lost) + ARITHMETIC_SLACK)
            })
            .collect();
        let mut least: Vec<f32> = bounds.iter().map(|(near, off)| near - off).collect();
        if k < least.len() {
            least.select_nth_unstable_by(k - 1, |a, b| b.total_cmp(a));
            let floor = least[k - 1];
            let above = bounds
                .iter()
                .enumerate()
                .filter(|(_, (near, off))| near + off >= floor);
            return above.map(|(at, _)| at).collect();
        }
        (0..bounds.len()).collect()
    }

    /// Memory held, in bytes.
    pub fn memory_bytes(&self) -> usize {
        self.bytes.capacity() + self.scales_and_losses.capacity() * size_of::<(f32, f32)>()
    }
}

/// Cosine of two unit vectors.
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

fn dot_codes(a: &[i8; DIMENSIONS], b: &[i8]) -> i32 {
    // 384 · 127² fits by far. Products in i16, because that is what SSE2 multiplies and adds at once.
    a.iter()
        .zip(b)
        .map(|(a, b)| i32::from(i16::from(*a) * i16::from(*b)))
        .sum()
}
