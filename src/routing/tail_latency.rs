//! The tail of a target's latencies: a histogram over the last one to two minutes. Hedging reads a high quantile from it,
//! which needs more samples than `measurements.rs` holds for the comparison of targets.

/// Length of half the window, in microseconds. The older half is dropped as a whole.
pub(crate) const HALF_US: u64 = 60_000_000;

/// Highest bits of a value that decide its bucket: a bucket is a sixteenth of its octave wide.
const BUCKET_BITS: u32 = 4;
const STEPS: usize = 1 << BUCKET_BITS;
/// One bucket for each value below 16 µs, then 16 for each doubling, up to `u32::MAX` (71 minutes).
const BUCKETS: usize = STEPS + (32 - BUCKET_BITS as usize) * STEPS;

/// Latencies in buckets whose width grows with the latency.
#[derive(Debug, Clone)]
pub(crate) struct TailLatency {
    halves: [[u32; BUCKETS]; 2],
    counts: [u32; 2],
    /// Number of the half that is being filled, counted from the start of the core.
    newest: u64,
}

impl Default for TailLatency {
    fn default() -> Self {
        Self {
            halves: [[0; BUCKETS]; 2],
            counts: [0; 2],
            newest: 0,
        }
    }
}

impl TailLatency {
    pub(crate) fn record(&mut self, latency_us: u64, now_us: u64) {
        let half = self.turn_to(now_us / HALF_US);
        let latency = u32::try_from(latency_us).unwrap_or(u32::MAX);
        self.halves[half][bucket(latency)] += 1;
        self.counts[half] += 1;
    }

    /// Latencies in the window.
    #[must_use]
    pub(crate) fn count(&self) -> u32 {
        self.counts.iter().sum()
    }

    /// The quantile in microseconds, rounded up by at most a sixteenth; `None` while the window is empty.
    #[must_use]
    pub(crate) fn quantile_us(&self, quantile: f64) -> Option<u64> {
        let count = self.count();
        // A double holds every count exactly.
        let rank = ((f64::from(count) * quantile).ceil() as u32).clamp(1, count.max(1));
        let [a, b] = &self.halves;
        let mut below = 0;
        let bucket = a.iter().zip(b).position(|(a, b)| {
            below += a + b;
            below >= rank
        })?;
        Some(upper_us(bucket))
    }

    fn turn_to(&mut self, half: u64) -> usize {
        if half > self.newest {
            // The new half replaces the one that is two halves old.
            let both_are_old = half > self.newest + 1;
            for (index, counts) in self.halves.iter_mut().enumerate() {
                if both_are_old || index as u64 == half % 2 {
                    counts.fill(0);
                    self.counts[index] = 0;
                }
            }
            self.newest = half;
        }
        usize::from(self.newest % 2 == 1)
    }
}

fn bucket(value: u32) -> usize {
    if value < 1 << BUCKET_BITS {
        return value as usize;
    }
    let octave = value.ilog2() - BUCKET_BITS;
    let step = (value >> octave) as usize - STEPS;
    STEPS + octave as usize * STEPS + step
}

/// The largest value of a bucket.
fn upper_us(bucket: usize) -> u64 {
    if bucket < STEPS {
        return bucket as u64;
    }
    let (octave, step) = ((bucket - STEPS) / STEPS, (bucket - STEPS) % STEPS);
    (((STEPS + step + 1) as u64) << octave) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_has_a_bucket_that_holds_it() {
        for shift in 0..32 {
            for value in [1_u32 << shift, (1 << shift) + 1, u32::MAX >> shift] {
                let bucket = bucket(value);
                assert!(bucket < BUCKETS);
                let upper = upper_us(bucket);
                assert!(upper >= u64::from(value), "{value}: {upper}");
                assert!(
                    upper <= u64::from(value) + u64::from(value) / 16,
                    "{value}: {upper}"
                );
            }
        }
    }

    #[test]
    fn quantiles_are_those_of_the_last_minutes() {
        let mut tail = TailLatency::default();
        assert_eq!(tail.quantile_us(0.5), None);
        for now_us in 0..1000 {
            let latency_us = if now_us % 20 == 0 { 1_000_000 } else { 50_000 };
            tail.record(latency_us, now_us);
        }
        let near = |quantile: f64, expected: f64| {
            let found = tail.quantile_us(quantile).unwrap() as f64;
            assert!(
                (expected..expected * 1.07).contains(&found),
                "{quantile}: {found}"
            );
        };
        near(0.5, 50_000.0);
        near(0.95, 50_000.0);
        near(0.951, 1_000_000.0);
        let mut tail = tail.clone();
        tail.record(70, HALF_US);
        assert_eq!(tail.count(), 1001);
        tail.record(70, 2 * HALF_US);
        assert_eq!(tail.count(), 2);
        tail.record(70, 9 * HALF_US);
        assert_eq!(tail.count(), 1);
    }
}
