//! The tail of a target's latencies: a histogram over the last one to two minutes, from which a quantile
//! is read that few samples would tell too roughly (`measure.rs` keeps those that routing compares by).

/// Length of half the window, in microseconds.
pub(crate) const HALF_US: u64 = 60_000_000;

/// Bits of a value that its bucket keeps: a bucket is a sixteenth of its octave wide.
const KEPT_BITS: u32 = 4;
const STEPS: usize = 1 << KEPT_BITS;
/// Buckets: one per value below 16 µs, then 16 for each doubling, up to `u32::MAX` (71 minutes).
const BUCKETS: usize = STEPS + (32 - KEPT_BITS as usize) * STEPS;

/// Latencies in buckets that grow with their value.
#[derive(Debug, Clone)]
pub(crate) struct TailLatency {
    halves: [[u32; BUCKETS]; 2],
    counts: [u32; 2],
    /// Number of the half that is being filled, since the start of time.
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
    /// Records a latency.
    pub(crate) fn record(&mut self, latency_us: u64, now_us: u64) {
        let half = self.turn_to(now_us / HALF_US);
        let latency = u32::try_from(latency_us).unwrap_or(u32::MAX);
        self.halves[half][bucket(latency)] += 1;
        self.counts[half] += 1;
    }

    /// Samples in the window.
    #[must_use]
    pub(crate) fn count(&self) -> u32 {
        self.counts.iter().sum()
    }

    /// The quantile in microseconds, rounded up by at most a sixteenth; `None` without samples.
    #[must_use]
    pub(crate) fn quantile_us(&self, quantile: f64) -> Option<u64> {
        let count = self.count();
        // A count of samples is exact in a double.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let rank = ((f64::from(count) * quantile).ceil() as u32).clamp(1, count.max(1));
        let [a, b] = &self.halves;
        let mut below = 0;
        let at = a.iter().zip(b).position(|(a, b)| {
            below += a + b;
            below >= rank
        })?;
        Some(upper_us(at))
    }

    fn turn_to(&mut self, half: u64) -> usize {
        if half > self.newest {
            // What is two halves old is forgotten.
            let both = half > self.newest + 1;
            for (at, counts) in self.halves.iter_mut().enumerate() {
                if both || at as u64 == half % 2 {
                    counts.fill(0);
                    self.counts[at] = 0;
                }
            }
            self.newest = half;
        }
        usize::from(self.newest % 2 == 1)
    }
}

fn bucket(value: u32) -> usize {
    if value < 1 << KEPT_BITS {
        return value as usize;
    }
    let octave = value.ilog2() - KEPT_BITS;
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
                let at = bucket(value);
                assert!(at < BUCKETS);
                let upper = upper_us(at);
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
        for at in 0..1000 {
            tail.record(if at % 20 == 0 { 1_000_000 } else { 50_000 }, at);
        }
        let near = |quantile: f64, wanted: f64| {
            let found = tail.quantile_us(quantile).unwrap() as f64;
            assert!(
                (wanted..wanted * 1.07).contains(&found),
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
