//! A histogram over fixed buckets, as Prometheus and OpenTelemetry define it.

/// A histogram over fixed upper bounds.
#[derive(Debug, Clone)]
pub struct Histogram {
    bounds: &'static [f64],
    counts: Vec<u64>,
    sum: f64,
}

/// Bounds for time that the gateway adds, in seconds, from microseconds up.
pub const OVERHEAD_SECONDS: &[f64] = &[
    5e-6, 10e-6, 20e-6, 50e-6, 100e-6, 200e-6, 500e-6, 1e-3, 2e-3, 5e-3, 10e-3, 50e-3, 0.25, 1.0,
];
/// Bounds for durations of model calls, in seconds (OpenTelemetry GenAI semantic conventions).
pub const DURATION_SECONDS: &[f64] = &[
    0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92,
];
/// Bounds for token counts (OpenTelemetry GenAI semantic conventions).
pub const TOKENS: &[f64] = &[
    1.0,
    4.0,
    16.0,
    64.0,
    256.0,
    1024.0,
    4096.0,
    16384.0,
    65536.0,
    262_144.0,
    1_048_576.0,
    4_194_304.0,
    16_777_216.0,
    67_108_864.0,
];

/// The buckets of a metric, as a type.
pub trait Bounds: std::fmt::Debug + Clone + 'static {
    /// Ascending upper bounds.
    const BOUNDS: &'static [f64];
}

/// [`OVERHEAD_SECONDS`].
#[derive(Debug, Clone)]
pub struct OverheadSeconds;

impl Bounds for OverheadSeconds {
    const BOUNDS: &'static [f64] = OVERHEAD_SECONDS;
}

/// [`DURATION_SECONDS`].
#[derive(Debug, Clone)]
pub struct DurationSeconds;

impl Bounds for DurationSeconds {
    const BOUNDS: &'static [f64] = DURATION_SECONDS;
}

/// [`TOKENS`].
#[derive(Debug, Clone)]
pub struct TokenCount;

impl Bounds for TokenCount {
    const BOUNDS: &'static [f64] = TOKENS;
}

impl Histogram {
    /// An empty histogram over `bounds` (ascending upper bounds).
    #[must_use]
    pub fn new(bounds: &'static [f64]) -> Self {
        Self {
            bounds,
            counts: vec![0; bounds.len() + 1],
            sum: 0.0,
        }
    }

    /// Records one value.
    pub fn record(&mut self, value: f64) {
        let bucket = self.bounds.partition_point(|bound| *bound < value);
        if let Some(count) = self.counts.get_mut(bucket) {
            *count += 1;
        }
        self.sum += value;
    }

    /// Adds the values of `other`, which has the same bounds.
    pub fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.counts.iter_mut().zip(&other.counts) {
            *mine += theirs;
        }
        self.sum += other.sum;
    }

    /// Number of recorded values.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Sum of the recorded values.
    #[must_use]
    pub fn sum(&self) -> f64 {
        self.sum
    }

    /// Upper bounds with the number of values at or below each, the last being infinity.
    pub fn cumulative(&self) -> impl Iterator<Item = (f64, u64)> + '_ {
        let bounds = self.bounds.iter().copied().chain([f64::INFINITY]);
        bounds.zip(&self.counts).scan(0, |total, (bound, count)| {
            *total += count;
            Some((bound, *total))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_counts_in_the_first_bucket_whose_bound_it_does_not_exceed() {
        let mut histogram = Histogram::new(TOKENS);
        for value in [0.0, 1.0, 1.5, 1e12] {
            histogram.record(value);
        }
        let mut twice = histogram.clone();
        twice.merge(&histogram);
        let counts: Vec<u64> = twice.cumulative().map(|(_, count)| count).collect();
        assert_eq!(&counts[..3], &[4, 6, 6]);
        assert_eq!(counts.last(), Some(&8));
        assert_eq!(twice.count(), 8);
    }
}
