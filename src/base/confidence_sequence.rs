//! A confidence interval of a share that is valid at all times at once, so that it may be evaluated after every label.
//!
//! The capital of a bettor who bets against a share `p` using the earlier labels (Robbins, "Statistical methods
//! related to the law of the iterated logarithm", 1970; Howard, Ramdas, McAuliffe and Sekhon, "Time-uniform,
//! nonparametric, nonasymptotic confidence sequences", Annals of Statistics 49, 2021; Waudby-Smith and Ramdas,
//! "Estimating means of bounded random variables by betting", JRSS B 86, 2024) grows beyond `1 / alpha`
//! with probability at most `alpha` if `p` is true (Ville's inequality). The interval holds all shares against which the
//! capital has not grown beyond it. This file must not know what is counted.

/// What the bettor expects before the first label: half a wrong label in ten. The interval is valid for any value; this value
/// makes it tight where wrong labels are rare.
const WRONG_BEFORE: f64 = 0.5;
const RIGHT_BEFORE: f64 = 9.5;
/// Steps of bisection.
const STEPS: usize = 50;

/// The labels so far, and the logarithm of the probability that the bettor assigned to them.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Sequence {
    wrong: u64,
    right: u64,
    log_bet: f64,
}

impl Sequence {
    /// Adds a label.
    pub(crate) fn add(&mut self, is_wrong: bool) {
        let (wrong, right) = (self.wrong as f64, self.right as f64);
        let all = wrong + right + WRONG_BEFORE + RIGHT_BEFORE;
        let expected = if is_wrong {
            self.wrong += 1;
            wrong + WRONG_BEFORE
        } else {
            self.right += 1;
            right + RIGHT_BEFORE
        };
        self.log_bet += (expected / all).ln();
    }

    /// The share of wrong labels so far; `None` before the first label.
    #[must_use]
    pub(crate) fn estimate(&self) -> Option<f64> {
        let all = self.wrong + self.right;
        (all > 0).then(|| self.wrong as f64 / all as f64)
    }

    /// The lower and upper end of the interval. With probability `1 - alpha` it contains the true share at all times.
    #[must_use]
    pub(crate) fn interval(&self, alpha: f64) -> (f64, f64) {
        let Some(middle) = self.estimate() else {
            return (0.0, 1.0);
        };
        let limit = (1.0 / alpha).ln();
        let is_outside = |share: f64| self.log_capital(share) >= limit;
        // The capital is smallest at the estimate and grows in both directions.
        let end = |mut within: f64, mut beyond: f64| {
            if !is_outside(beyond) {
                return beyond;
            }
            for _ in 0..STEPS {
                let share = f64::midpoint(within, beyond);
                if is_outside(share) {
                    beyond = share;
                } else {
                    within = share;
                }
            }
            beyond
        };
        (end(middle, 0.0), end(middle, 1.0))
    }

    /// Logarithm of the capital of a bettor against `share`.
    fn log_capital(&self, share: f64) -> f64 {
        let part = |count: u64, log: f64| if count == 0 { 0.0 } else { count as f64 * log };
        self.log_bet - part(self.wrong, share.ln()) - part(self.right, (-share).ln_1p())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(wrong: u64, right: u64) -> Sequence {
        let mut sequence = Sequence::default();
        for label in 0..wrong + right {
            sequence.add(label < wrong);
        }
        sequence
    }

    #[test]
    fn the_interval_narrows_around_the_share() {
        assert_eq!(Sequence::default().interval(0.05), (0.0, 1.0));
        let (low, high) = of(0, 300).interval(0.05);
        assert!(low == 0.0 && high > 0.01 && high < 0.04, "{high}");
        let (low, high) = of(100, 900).interval(0.05);
        assert!(low > 0.07 && low < 0.1 && high > 0.1 && high < 0.14);
        // The order of labels does not matter.
        let mut reordered = of(0, 900);
        (0..100).for_each(|_| reordered.add(true));
        assert!((reordered.interval(0.05).0 - low).abs() < 1e-9);
    }

    #[test]
    fn the_interval_seldom_excludes_the_true_share_at_any_time() {
        // 400 runs of 500 labels at a share of 0.05: in how many is the share ever outside of the interval?
        let mut state = 7_u64;
        let mut random = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 11) as f64 / (1_u64 << 53) as f64
        };
        let mut missed = 0;
        for _ in 0..400 {
            let mut sequence = Sequence::default();
            let mut was_outside = false;
            for _ in 0..500 {
                sequence.add(random() < 0.05);
                was_outside |= sequence.log_capital(0.05) >= 20_f64.ln();
            }
            missed += u32::from(was_outside);
        }
        assert!(missed <= 20, "{missed} of 400");
        assert!(missed > 0, "a bound that never fails is not tight");
    }
}
