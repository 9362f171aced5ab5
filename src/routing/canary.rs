//! Decides when a canary is worse than its baseline, by a statistical test that stays valid however often it is evaluated.
//! Deterministic: the counts of the cores are merged elsewhere and passed in. It must not know experiments or metrics.
//!
//! For each block of new counts, the test multiplies its result by the likelihood of the counts under "the canary is worse",
//! divided by their likelihood under "both are alike" (an e-value for two samples: Turner, Ly, Grünwald 2024, "Generic
//! E-variables for exact sequential k-sample tests"). Both rates of the hypothesis "worse" come from earlier blocks. If the
//! canary is no worse, the product reaches `1 / ALPHA` with a probability of at most `ALPHA`.

/// Probability that a canary that is no worse is ever rolled back. The tests of a canary share it.
pub(crate) const ALPHA: f64 = 0.01;
/// How much larger a share must be to count as worse. Smaller differences are left to people.
pub(crate) const MARGIN: f64 = 0.01;
/// Number of tests of a canary: errors, first tokens, whole responses.
const TESTS: f64 = 3.0;
/// The share of the baseline's responses that are not slow: p99.
pub(crate) const QUANTILE: f64 = 0.99;
/// Responses of the baseline that are needed before any counts as slow: of 1000, ten are beyond p99.
const BASELINE_MIN: u64 = 1000;

/// A number of bad events among all events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Count {
    pub bad: u64,
    pub all: u64,
}

impl Count {
    /// The share of bad events; zero if there are no events.
    #[must_use]
    pub fn share(self) -> f64 {
        ratio(self.bad, self.all)
    }

    fn since(self, before: Self) -> Self {
        Self {
            bad: self.bad.saturating_sub(before.bad),
            all: self.all.saturating_sub(before.all),
        }
    }

    fn plus(self, more: Self) -> Self {
        Self {
            bad: self.bad + more.bad,
            all: self.all + more.all,
        }
    }

    /// An estimate of the share of bad events that is never 0 or 1.
    fn estimate(self) -> f64 {
        (float(self.bad) + 0.5) / (float(self.all) + 1.0)
    }
}

/// The two samples of a test.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Samples {
    pub baseline: Count,
    pub canary: Count,
}

/// A sequential test of two samples: has the second a larger share of bad events?
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Test {
    /// Logarithm of the product of likelihood ratios.
    log_e: f64,
    baseline: Count,
    canary: Count,
}

impl Test {
    /// Adds a block: the events since the last block.
    pub(crate) fn add(&mut self, baseline: Count, canary: Count) {
        let estimate = self.baseline.estimate();
        let canary_rate = self.canary.estimate().max(estimate + MARGIN);
        let canary_rate = canary_rate.min(1.0 - 1e-9);
        let baseline_rate = estimate.min(canary_rate);
        let (b, c) = (float(baseline.all), float(canary.all));
        // A block without events of both has nothing to compare.
        if b > 0.0 && c > 0.0 {
            let common_rate = (b * baseline_rate + c * canary_rate) / (b + c);
            let log_ratio = |rate: f64, count: Count| {
                let (bad, good) = (float(count.bad), float(count.all.saturating_sub(count.bad)));
                bad * (rate / common_rate).ln() + good * ((1.0 - rate) / (1.0 - common_rate)).ln()
            };
            self.log_e += log_ratio(baseline_rate, baseline) + log_ratio(canary_rate, canary);
        }
        self.baseline = self.baseline.plus(baseline);
        self.canary = self.canary.plus(canary);
    }

    /// Whether the test shows that the canary is worse, and the observed difference is above the margin too.
    #[must_use]
    pub(crate) fn is_worse(&self) -> bool {
        let difference = self.canary.share() - self.baseline.share();
        self.log_e >= (TESTS / ALPHA).ln() && difference >= MARGIN
    }

    #[must_use]
    pub(crate) fn samples(&self) -> Samples {
        Samples {
            baseline: self.baseline,
            canary: self.canary,
        }
    }
}

/// A cumulative histogram of latencies: ascending upper bounds in seconds, each with the number of responses that took at most
/// that long.
pub(crate) type Cumulative = Vec<(f64, u64)>;

/// The counts of an arm since the process began.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Totals {
    /// Failed requests among all requests.
    pub errors: Count,
    /// Times to the first token of streams.
    pub first_token: Cumulative,
    /// Times of whole responses.
    pub whole: Cumulative,
}

/// Why a canary was rolled back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RollbackReason {
    /// More of its requests failed.
    Errors,
    /// More of its first tokens took longer than the baseline's p99.
    FirstToken,
    /// More of its whole responses took longer than the baseline's p99.
    Whole,
}

impl RollbackReason {
    /// Its name in the log, metrics and admin API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Errors => "errors",
            Self::FirstToken => "first-token",
            Self::Whole => "whole-answer",
        }
    }
}

/// The tests of one canary against its baseline.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct CanaryTest {
    before: Option<Before>,
    errors: Test,
    first_token: Test,
    whole: Test,
}

/// The totals at the last update.
#[derive(Debug, Clone, PartialEq)]
struct Before {
    baseline: Totals,
    canary: Totals,
}

impl CanaryTest {
    /// Adds the events since the last update. Returns why the canary must be rolled back, if it must.
    pub(crate) fn update(&mut self, baseline: Totals, canary: Totals) -> Option<RollbackReason> {
        if let Some(before) = &self.before {
            self.errors.add(
                baseline.errors.since(before.baseline.errors),
                canary.errors.since(before.canary.errors),
            );
            if let Some(slow) = before.slow_since(&baseline, &canary, |arm| &arm.first_token) {
                self.first_token.add(slow.baseline, slow.canary);
            }
            if let Some(slow) = before.slow_since(&baseline, &canary, |arm| &arm.whole) {
                self.whole.add(slow.baseline, slow.canary);
            }
        }
        self.before = Some(Before { baseline, canary });
        let tests = [
            (&self.errors, RollbackReason::Errors),
            (&self.first_token, RollbackReason::FirstToken),
            (&self.whole, RollbackReason::Whole),
        ];
        tests
            .into_iter()
            .find(|(test, _)| test.is_worse())
            .map(|(_, reason)| reason)
    }

    /// The samples that a reason is based on.
    #[must_use]
    pub(crate) fn samples(&self, reason: RollbackReason) -> Samples {
        match reason {
            RollbackReason::Errors => self.errors.samples(),
            RollbackReason::FirstToken => self.first_token.samples(),
            RollbackReason::Whole => self.whole.samples(),
        }
    }
}

impl Before {
    /// The responses since then, with those that took longer than the baseline's p99 of then as the bad ones. The p99 is
    /// computed without the new responses, as the test requires.
    fn slow_since(
        &self,
        baseline: &Totals,
        canary: &Totals,
        latencies: fn(&Totals) -> &Cumulative,
    ) -> Option<Samples> {
        let limit = slow_from(latencies(&self.baseline))?;
        let since = |now: &Totals, before: &Totals| {
            beyond(latencies(now), limit).since(beyond(latencies(before), limit))
        };
        Some(Samples {
            baseline: since(baseline, &self.baseline),
            canary: since(canary, &self.canary),
        })
    }
}

/// Upper bound of the bucket that p99 is in, in seconds. `None` while there are too few responses, or if the bucket is
/// unbounded.
fn slow_from(latencies: &Cumulative) -> Option<f64> {
    let all = latencies.last().map_or(0, |(_, count)| *count);
    let within = |(_, count): &&(f64, u64)| ratio(*count, all) >= QUANTILE;
    let limit = latencies.iter().find(within).map(|(bound, _)| *bound);
    limit.filter(|bound| bound.is_finite() && all >= BASELINE_MIN)
}

fn beyond(latencies: &Cumulative, limit: f64) -> Count {
    let all = latencies.last().map_or(0, |(_, count)| *count);
    let within = latencies.iter().find(|(bound, _)| *bound >= limit);
    Count {
        bad: all - within.map_or(0, |(_, count)| *count).min(all),
        all,
    }
}

fn ratio(part: u64, all: u64) -> f64 {
    float(part) / float(all.max(1))
}

/// Exact: counts stay far below 2^53.
fn float(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::random::{fraction, mix};

    const BOUNDS: [f64; 6] = [0.1, 0.2, 0.4, 0.8, 1.6, f64::INFINITY];

    /// How an arm behaves under simulated traffic.
    #[derive(Clone, Copy)]
    struct Simulated {
        errors: f64,
        /// Share of first tokens that take a second; the others take 150 ms.
        slow: f64,
        per_block: u64,
    }

    struct SimulatedArm {
        totals: Totals,
        random: u64,
    }

    impl SimulatedArm {
        fn new(seed: u64) -> Self {
            let first_token = BOUNDS.iter().map(|bound| (*bound, 0)).collect();
            let totals = Totals {
                first_token,
                ..Totals::default()
            };
            Self {
                totals,
                random: mix(seed, 0x5eed),
            }
        }

        fn chance(&mut self, share: f64) -> bool {
            self.random = mix(self.random, 1);
            fraction(self.random) <= share
        }

        /// Serves a block of requests; returns the totals since the beginning.
        fn block(&mut self, arm: &Simulated) -> Totals {
            for _ in 0..arm.per_block {
                let failed = self.chance(arm.errors);
                self.totals.errors.all += 1;
                self.totals.errors.bad += u64::from(failed);
                let took = if self.chance(arm.slow) { 1.0 } else { 0.15 };
                for (bound, count) in &mut self.totals.first_token {
                    *count += u64::from(took <= *bound);
                }
            }
            self.totals.clone()
        }
    }

    /// The number of requests after which the canary was rolled back, and why.
    fn rolled_back(
        baseline: Simulated,
        canary: Simulated,
        seed: u64,
        blocks: u64,
    ) -> Option<(u64, RollbackReason)> {
        let mut baseline_arm = SimulatedArm::new(seed);
        let mut canary_arm = SimulatedArm::new(!seed);
        let mut test = CanaryTest::default();
        test.update(baseline_arm.totals.clone(), canary_arm.totals.clone());
        (0..blocks).find_map(|_| {
            let reason = test.update(baseline_arm.block(&baseline), canary_arm.block(&canary))?;
            Some((canary_arm.totals.errors.all, reason))
        })
    }

    const GOOD: Simulated = Simulated {
        errors: 0.02,
        slow: 0.004,
        per_block: 90,
    };
    const ALIKE: Simulated = Simulated {
        per_block: 10,
        ..GOOD
    };

    #[test]
    fn a_canary_that_is_no_worse_stays() {
        for errors in [0.0, 0.001, 0.02, 0.3] {
            let baseline = Simulated { errors, ..GOOD };
            let canary = Simulated { errors, ..ALIKE };
            let wrong = (0..300).filter(|seed| rolled_back(baseline, canary, *seed, 600).is_some());
            // One in a hundred is allowed: three, and no more than nine by chance (p < 0.003).
            let wrong = wrong.count();
            assert!(wrong <= 9, "{wrong} of 300 at {errors}");
        }
        // A better canary stays too, and nearly always one that is worse by much less than the margin.
        let better = Simulated {
            errors: 0.0,
            slow: 0.0,
            ..ALIKE
        };
        let nearly = Simulated {
            errors: 0.023,
            ..ALIKE
        };
        let rollbacks = |canary| {
            let seeds = (0..50).filter(|seed| rolled_back(GOOD, canary, *seed, 600).is_some());
            seeds.count()
        };
        assert_eq!(rollbacks(better), 0);
        assert!(rollbacks(nearly) <= 5);
    }

    #[test]
    fn a_canary_that_is_worse_is_rolled_back_soon() {
        let cases = [
            (
                Simulated {
                    errors: 0.5,
                    ..ALIKE
                },
                RollbackReason::Errors,
                100,
            ),
            (
                Simulated {
                    errors: 0.1,
                    ..ALIKE
                },
                RollbackReason::Errors,
                1_000,
            ),
            (
                Simulated { slow: 0.2, ..ALIKE },
                RollbackReason::FirstToken,
                500,
            ),
        ];
        for (canary, expected, within) in cases {
            let mut taken: Vec<u64> = (0..50)
                .map(|seed| {
                    let (requests, reason) =
                        rolled_back(GOOD, canary, seed, 2_000).expect("a roll-back");
                    assert_eq!(reason, expected);
                    requests
                })
                .collect();
            taken.sort_unstable();
            println!(
                "{expected:?}: median {}, most {} requests of the canary",
                taken[25], taken[49]
            );
            assert!(taken[25] <= within, "{expected:?}: {taken:?}");
        }
    }

    #[test]
    fn nothing_is_decided_without_counts_of_both_arms() {
        let mut test = Test::default();
        for _ in 0..1000 {
            test.add(Count::default(), Count { bad: 10, all: 10 });
        }
        assert!(!test.is_worse());
        assert_eq!(
            CanaryTest::default().update(Totals::default(), Totals::default()),
            None
        );
    }
}
