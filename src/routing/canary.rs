//! When a canary is worse than its baseline: a test that holds however often one looks, over blocks of
//! merged counts. Deterministic; the counts are handed in.
//!
//! The test multiplies, block by block, how much likelier "the canary is worse" makes the counts than "both
//! are alike" does (an e-value for two samples: Turner, Ly, Grünwald 2024, "Generic E-variables for exact
//! sequential k-sample tests"). Both rates that "worse" bets on come from earlier blocks. If the canary is
//! no worse, the product ever reaches `1 / ALPHA` with a probability of `ALPHA` at most.

/// Probability that a canary which is no worse is ever rolled back; shared among the tests.
pub(crate) const ALPHA: f64 = 0.01;
/// How much larger a share must be to count as worse; what is nearly alike is left to people.
pub(crate) const MARGIN: f64 = 0.01;
/// Tests of one canary: errors, first tokens, whole answers.
const TESTS: f64 = 3.0;
/// The share of the baseline's answers that is not slow: p99.
pub(crate) const QUANTILE: f64 = 0.99;
/// Answers of the baseline that must be known before any is called slow: a hundred beyond p99.
const BASELINE_MIN: u64 = 1000;

/// So many of so many.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Count {
    /// Those that were bad.
    pub bad: u64,
    /// All.
    pub all: u64,
}

impl Count {
    /// The share of bad ones; zero of none.
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

    /// An estimate that is never 0 or 1.
    fn estimate(self) -> f64 {
        (float(self.bad) + 0.5) / (float(self.all) + 1.0)
    }
}

/// One question about two samples: has the second a larger share of bad ones?
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Test {
    log_e: f64,
    baseline: Count,
    canary: Count,
}

impl Test {
    /// Takes in a block: what came since the last one.
    pub(crate) fn add(&mut self, baseline: Count, canary: Count) {
        let usual = self.baseline.estimate();
        let bet = self.canary.estimate().max(usual + MARGIN).min(1.0 - 1e-9);
        let usual = usual.min(bet);
        let (b, c) = (float(baseline.all), float(canary.all));
        // Without both there is nothing to compare.
        if b > 0.0 && c > 0.0 {
            let alike = (b * usual + c * bet) / (b + c);
            let log = |rate: f64, count: Count| {
                let (bad, good) = (float(count.bad), float(count.all.saturating_sub(count.bad)));
                bad * (rate / alike).ln() + good * ((1.0 - rate) / (1.0 - alike)).ln()
            };
            self.log_e += log(usual, baseline) + log(bet, canary);
        }
        self.baseline = self.baseline.plus(baseline);
        self.canary = self.canary.plus(canary);
    }

    /// It is shown, and what was seen is above the margin too.
    #[must_use]
    pub(crate) fn is_worse(&self) -> bool {
        let seen = self.canary.share() - self.baseline.share();
        self.log_e >= (TESTS / ALPHA).ln() && seen >= MARGIN
    }

    /// What both samples were.
    #[must_use]
    pub(crate) fn seen(&self) -> (Count, Count) {
        (self.baseline, self.canary)
    }
}

/// Answers by latency: upper bounds in seconds, ascending, with how many took at most that long.
pub(crate) type Cumulative = Vec<(f64, u64)>;

/// What is known of an arm since the process began.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Totals {
    /// Requests, and those that failed.
    pub errors: Count,
    /// Times to the first token.
    pub first_token: Cumulative,
    /// Times of whole answers.
    pub whole: Cumulative,
}

/// RollbackReason a canary was rolled back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RollbackReason {
    /// More of its requests failed.
    Errors,
    /// More of its first tokens came later than the baseline's p99.
    FirstToken,
    /// More of its whole answers did.
    Whole,
}

impl RollbackReason {
    /// Name in log, metrics and on the admin side.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Errors => "errors",
            Self::FirstToken => "first-token",
            Self::Whole => "whole-answer",
        }
    }
}

/// The watch over one canary.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct CanaryTest {
    /// Totals of baseline and canary when last looked at.
    before: Option<(Totals, Totals)>,
    errors: Test,
    first_token: Test,
    whole: Test,
}

impl CanaryTest {
    /// Looks at new totals; says why the canary is to be rolled back, if it is.
    pub(crate) fn look(&mut self, baseline: Totals, canary: Totals) -> Option<RollbackReason> {
        if let Some((b, c)) = &self.before {
            let errors = (
                baseline.errors.since(b.errors),
                canary.errors.since(c.errors),
            );
            self.errors.add(errors.0, errors.1);
            // What is slow is settled by what was known before this block.
            let first = slow(
                (&b.first_token, &baseline.first_token),
                (&c.first_token, &canary.first_token),
            );
            let whole = slow((&b.whole, &baseline.whole), (&c.whole, &canary.whole));
            for (test, found) in [(&mut self.first_token, first), (&mut self.whole, whole)] {
                if let Some((baseline, canary)) = found {
                    test.add(baseline, canary);
                }
            }
        }
        self.before = Some((baseline, canary));
        let tests = [
            (&self.errors, RollbackReason::Errors),
            (&self.first_token, RollbackReason::FirstToken),
            (&self.whole, RollbackReason::Whole),
        ];
        tests
            .into_iter()
            .find(|(test, _)| test.is_worse())
            .map(|(_, why)| why)
    }

    /// The samples behind a reason.
    #[must_use]
    pub(crate) fn seen(&self, why: RollbackReason) -> (Count, Count) {
        match why {
            RollbackReason::Errors => self.errors.seen(),
            RollbackReason::FirstToken => self.first_token.seen(),
            RollbackReason::Whole => self.whole.seen(),
        }
    }
}

type BeforeAndNow<'c> = (&'c Cumulative, &'c Cumulative);

/// How many of a block took longer than the baseline's p99 did before it.
fn slow(baseline: BeforeAndNow<'_>, canary: BeforeAndNow<'_>) -> Option<(Count, Count)> {
    let limit = slow_from(baseline.0)?;
    let block = |(before, now): BeforeAndNow<'_>| beyond(now, limit).since(beyond(before, limit));
    Some((block(baseline), block(canary)))
}

/// The bucket that p99 is in: its upper bound, in seconds. `None` while too little is known, or where there is
/// no bound above it.
fn slow_from(known: &Cumulative) -> Option<f64> {
    let all = known.last().map_or(0, |(_, count)| *count);
    let within = |(_, count): &&(f64, u64)| ratio(*count, all) >= QUANTILE;
    let limit = known.iter().find(within).map(|(bound, _)| *bound);
    limit.filter(|bound| bound.is_finite() && all >= BASELINE_MIN)
}

fn beyond(known: &Cumulative, limit: f64) -> Count {
    let all = known.last().map_or(0, |(_, count)| *count);
    let within = known.iter().find(|(bound, _)| *bound >= limit);
    Count {
        bad: all - within.map_or(0, |(_, count)| *count).min(all),
        all,
    }
}

fn ratio(part: u64, all: u64) -> f64 {
    float(part) / float(all.max(1))
}

/// Counts stay far below 2^53.
#[allow(clippy::cast_precision_loss)]
fn float(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::random::{fraction, mix};

    const BOUNDS: [f64; 6] = [0.1, 0.2, 0.4, 0.8, 1.6, f64::INFINITY];

    /// An arm under simulated traffic.
    #[derive(Clone, Copy)]
    struct Simulated {
        errors: f64,
        /// Share of first tokens that take a second; the others take 150 ms.
        slow: f64,
        per_block: u64,
    }

    struct Run {
        totals: Totals,
        random: u64,
    }

    impl Run {
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

    /// After how many requests of the canary it was rolled back, and why.
    fn rolled_back(
        baseline: Simulated,
        canary: Simulated,
        seed: u64,
        blocks: u64,
    ) -> Option<(u64, RollbackReason)> {
        let (mut one, mut other) = (Run::new(seed), Run::new(!seed));
        let mut watch = CanaryTest::default();
        watch.look(one.totals.clone(), other.totals.clone());
        (0..blocks).find_map(|_| {
            let why = watch.look(one.block(&baseline), other.block(&canary))?;
            Some((other.totals.errors.all, why))
        })
    }

    const GOOD: Simulated = Simulated {
        errors: 0.02,
        slow: 0.004,
        per_block: 90,
    };
    const LIKEWISE: Simulated = Simulated {
        per_block: 10,
        ..GOOD
    };

    #[test]
    fn one_that_is_no_worse_stays() {
        for errors in [0.0, 0.001, 0.02, 0.3] {
            let baseline = Simulated { errors, ..GOOD };
            let canary = Simulated { errors, ..LIKEWISE };
            let wrong = (0..300).filter(|seed| rolled_back(baseline, canary, *seed, 600).is_some());
            // One in a hundred is allowed: three, and no more than nine by chance (p < 0.003).
            let wrong = wrong.count();
            assert!(wrong <= 9, "{wrong} of 300 at {errors}");
        }
        // Nor one that is better; seldom one that is worse by much less than the margin.
        let better = Simulated {
            errors: 0.0,
            slow: 0.0,
            ..LIKEWISE
        };
        let nearly = Simulated {
            errors: 0.023,
            ..LIKEWISE
        };
        let gone = |canary| {
            let gone = (0..50).filter(|seed| rolled_back(GOOD, canary, *seed, 600).is_some());
            gone.count()
        };
        assert_eq!(gone(better), 0);
        assert!(gone(nearly) <= 5);
    }

    #[test]
    fn one_that_is_worse_goes_soon() {
        let cases = [
            (
                Simulated {
                    errors: 0.5,
                    ..LIKEWISE
                },
                RollbackReason::Errors,
                100,
            ),
            (
                Simulated {
                    errors: 0.1,
                    ..LIKEWISE
                },
                RollbackReason::Errors,
                1_000,
            ),
            (
                Simulated {
                    slow: 0.2,
                    ..LIKEWISE
                },
                RollbackReason::FirstToken,
                500,
            ),
        ];
        for (canary, why, within) in cases {
            let mut taken: Vec<u64> = (0..50)
                .map(|seed| {
                    let (requests, because) =
                        rolled_back(GOOD, canary, seed, 2_000).expect("a roll-back");
                    assert_eq!(because, why);
                    requests
                })
                .collect();
            taken.sort_unstable();
            println!(
                "{why:?}: median {}, most {} requests of the canary",
                taken[25], taken[49]
            );
            assert!(taken[25] <= within, "{why:?}: {taken:?}");
        }
    }

    #[test]
    fn nothing_is_decided_by_one_side_alone() {
        let mut test = Test::default();
        for _ in 0..1000 {
            test.add(Count::default(), Count { bad: 10, all: 10 });
        }
        assert!(!test.is_worse());
        assert_eq!(
            CanaryTest::default().look(Totals::default(), Totals::default()),
            None
        );
    }
}
