//! A bound on a share that holds at all times at once, so that it may be looked at after every label.
//!
//! The capital of a bettor who bets against a share `p` by what was seen before (Robbins, "Statistical methods
//! related to the law of the iterated logarithm", 1970; Howard, Ramdas, McAuliffe and Sekhon, "Time-uniform,
//! nonparametric, nonasymptotic confidence sequences", Annals of Statistics 49, 2021; Waudby-Smith and Ramdas,
//! "Estimating means of bounded random variables by betting", JRSS B 86, 2024) grows beyond `1 / alpha`
//! with probability at most `alpha` if `p` is true (Ville's inequality). The shares against which it has not
//! are the interval. Must not know what is counted.

/// What the bettor expects before the first label: half a wrong one in ten. Any value keeps the bound; this
/// one makes it tight where wrong ones are rare.
const WRONG_BEFORE: f64 = 0.5;
const RIGHT_BEFORE: f64 = 9.5;
/// Steps of bisection.
const STEPS: usize = 50;

/// Labels seen, and the logarithm of the probability that the bettor gave them.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Sequence {
    wrong: u64,
    right: u64,
    log_bet: f64,
}

#[allow(clippy::cast_precision_loss)]
impl Sequence {
    /// Adds a label.
    pub(crate) fn add(&mut self, is_wrong: bool) {
        let (wrong, right) = (self.wrong as f64, self.right as f64);
        let all = wrong + right + WRONG_BEFORE + RIGHT_BEFORE;
        let seen = if is_wrong {
            self.wrong += 1;
            wrong + WRONG_BEFORE
        } else {
            self.right += 1;
            right + RIGHT_BEFORE
        };
        self.log_bet += (seen / all).ln();
    }

    /// The share of wrong ones; `None` before the first label.
    #[must_use]
    pub(crate) fn estimate(&self) -> Option<f64> {
        let all = self.wrong + self.right;
        (all > 0).then(|| self.wrong as f64 / all as f64)
    }

    /// The interval that holds the true share at all times with probability `1 - alpha`.
    #[must_use]
    pub(crate) fn interval(&self, alpha: f64) -> (f64, f64) {
        let Some(middle) = self.estimate() else {
            return (0.0, 1.0);
        };
        let limit = (1.0 / alpha).ln();
        let is_out = |share: f64| self.log_capital(share) >= limit;
        // The capital is least at the estimate and grows to both sides.
        let end = |mut within: f64, mut beyond: f64| {
            if !is_out(beyond) {
                return beyond;
            }
            for _ in 0..STEPS {
                let share = f64::midpoint(within, beyond);
                if is_out(share) {
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
        for at in 0..wrong + right {
            sequence.add(at < wrong);
        }
        sequence
    }

    #[test]
    fn it_narrows_around_the_share() {
        assert_eq!(Sequence::default().interval(0.05), (0.0, 1.0));
        let (low, high) = of(0, 300).interval(0.05);
        assert!(low == 0.0 && high > 0.01 && high < 0.04, "{high}");
        let (low, high) = of(100, 900).interval(0.05);
        assert!(low > 0.07 && low < 0.1 && high > 0.1 && high < 0.14);
        // The order of labels does not matter.
        let mut turned = of(0, 900);
        (0..100).for_each(|_| turned.add(true));
        assert!((turned.interval(0.05).0 - low).abs() < 1e-9);
    }

    #[test]
    fn it_is_seldom_wrong_at_any_time() {
        // 400 runs of 500 labels at a share of 0.05: how many leave it out even once?
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
            let mut out = false;
            for _ in 0..500 {
                sequence.add(random() < 0.05);
                out |= sequence.log_capital(0.05) >= 20_f64.ln();
            }
            missed += u32::from(out);
        }
        assert!(missed <= 20, "{missed} of 400");
        assert!(missed > 0, "a bound that never fails is not tight");
    }
}
