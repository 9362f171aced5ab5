//! Arithmetic on vectors: the cosine, and the form of one byte per component that the graph keeps.
//!
//! Each vector is scaled so that its largest component becomes ±127: with a fixed scale, unit vectors
//! of 384 components, of which most are near 0.05, would use three of the eight bits. Measured with
//! usearch at 10,000 vectors: recall@1 before comparing in full 0.970 instead of 0.922.
//!
//! Must not know: ids, entries, or how vectors are searched.

use super::DIMENSIONS;

/// Largest code.
const CODE_MAX: f32 = 127.0;

/// `vector` in one byte per component, in units of a scale of its own; components beyond
/// [`DIMENSIONS`] are ignored.
pub fn code(vector: &[f32]) -> [i8; DIMENSIONS] {
    let largest = vector
        .iter()
        .fold(0.0_f32, |largest, x| largest.max(x.abs()));
    let scale = if largest > 0.0 {
        CODE_MAX / largest
    } else {
        0.0
    };
    let mut code = [0; DIMENSIONS];
    for (byte, x) in code.iter_mut().zip(vector) {
        // In range by the choice of scale.
        *byte = (x * scale).round() as i8;
    }
    code
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
