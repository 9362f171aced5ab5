//! Decides when a request that waits for its response gets a second attempt at another target, and how many tokens may be
//! spent on such hedges. It must not know how an attempt is sent.
//!
//! Each core has hedges of its own, like the target table: cores do not share what they measured.

use crate::routing::indices::{ModelIndex, TargetSlot};
use crate::routing::measurements::Series;
use crate::routing::tail_latency::TailLatency;
use std::collections::HashMap;

/// A request that has taken so many times the median is late, whatever the quantile is: where as many responses are slow as lie
/// beyond the quantile, the quantile itself may be the latency of a slow response.
pub(crate) const LATE_FACTOR: u64 = 3;

/// Latencies that must lie beyond the quantile before it is used.
const SAMPLES_BEYOND: f64 = 2.0;

/// Interval at which the tokens earned and spent are halved, in microseconds: an unused budget expires, so that a quiet time is
/// not followed by a burst of hedges.
const HALVE_EVERY_US: u64 = 60_000_000;

/// When a model's requests are hedged, and at what cost.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Rule {
    /// Quantile of the target's latency after which a request is late.
    pub quantile: f64,
    /// Tokens that may be spent on hedges, as a share of all billed tokens.
    pub extra_tokens_share_max: f64,
}

/// The measurements and budgets that a core needs for hedging.
#[derive(Debug, Default)]
pub(crate) struct Hedges {
    tails: HashMap<(TargetSlot, Series), Box<TailLatency>, foldhash::fast::RandomState>,
    budgets: HashMap<ModelIndex, Budget, foldhash::fast::RandomState>,
}

/// The hedge budget of one model, in tokens.
#[derive(Debug, Clone, Copy, Default)]
struct Budget {
    billed_tokens: u64,
    requests: u64,
    spent: u64,
    /// When it was last halved, in microseconds.
    halved_us: u64,
}

impl Hedges {
    /// Records a latency of a target. Of an attempt that was cancelled, that is the time until then.
    pub(crate) fn measure(
        &mut self,
        slot: TargetSlot,
        series: Series,
        latency_us: u64,
        now_us: u64,
    ) {
        let tail = self.tails.entry((slot, series)).or_default();
        tail.record(latency_us, now_us);
    }

    /// After how many microseconds a request at this target is late; `None` while there are too few latencies.
    #[must_use]
    pub(crate) fn late_after_us(
        &self,
        slot: TargetSlot,
        series: Series,
        rule: &Rule,
    ) -> Option<u64> {
        let tail = self.tails.get(&(slot, series))?;
        if f64::from(tail.count()) * (1.0 - rule.quantile) < SAMPLES_BEYOND {
            return None;
        }
        let late_us = tail.quantile_us(rule.quantile)?;
        Some(late_us.min(LATE_FACTOR * tail.quantile_us(0.5)?))
    }

    /// Records a request of the model that was billed `tokens`.
    pub(crate) fn earn(&mut self, model: ModelIndex, tokens: u64, now_us: u64) {
        let budget = self.budgets.entry(model).or_default();
        budget.age(now_us);
        budget.billed_tokens = budget.billed_tokens.saturating_add(tokens);
        budget.requests += 1;
    }

    /// Pays for a hedge of a request with `input` tokens. Returns the estimated number of tokens; `None` if that is more than may
    /// be spent. A stream that is cancelled has sent nothing, so it costs its input. A buffered response may be nearly complete,
    /// so it costs as much as an average request.
    pub(crate) fn spend(
        &mut self,
        model: ModelIndex,
        input: u64,
        series: Series,
        rule: &Rule,
        now_us: u64,
    ) -> Option<u64> {
        let budget = self.budgets.get_mut(&model)?;
        budget.age(now_us);
        let mean = budget.billed_tokens / budget.requests.max(1);
        let cost = match series {
            Series::FirstToken => input,
            _ => mean.max(input),
        };
        // Exact: numbers of tokens stay far below 2^53.
        let is_affordable = (budget.spent + cost) as f64
            <= budget.billed_tokens as f64 * rule.extra_tokens_share_max;
        is_affordable.then(|| {
            budget.spent += cost;
            cost
        })
    }
}

impl Budget {
    fn age(&mut self, now_us: u64) {
        let times = now_us.saturating_sub(self.halved_us) / HALVE_EVERY_US;
        if times > 0 {
            let shift = u32::try_from(times).unwrap_or(63).min(63);
            self.billed_tokens >>= shift;
            self.requests >>= shift;
            // Rounded up, so that rounding never increases what may be spent.
            self.spent = self.spent.div_ceil(1 << shift);
            self.halved_us += times * HALVE_EVERY_US;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::random::{fraction, mix};

    const RULE: Rule = Rule {
        quantile: 0.95,
        extra_tokens_share_max: 0.02,
    };
    const SERIES: Series = Series::FirstToken;

    #[test]
    fn nothing_is_late_before_enough_latencies_and_then_what_is_beyond_the_quantile() {
        let mut hedges = Hedges::default();
        assert_eq!(
            hedges.late_after_us(TargetSlot::new(1), SERIES, &RULE),
            None
        );
        for step in 0..39 {
            hedges.measure(TargetSlot::new(1), SERIES, 10_000 + 100 * step, step);
            assert_eq!(
                hedges.late_after_us(TargetSlot::new(1), SERIES, &RULE),
                None
            );
        }
        hedges.measure(TargetSlot::new(1), SERIES, 10_000, 39);
        let late_us = hedges
            .late_after_us(TargetSlot::new(1), SERIES, &RULE)
            .unwrap();
        assert!((13_600..14_700).contains(&late_us), "{late_us}");
        assert_eq!(
            hedges.late_after_us(TargetSlot::new(2), SERIES, &RULE),
            None
        );
        assert_eq!(
            hedges.late_after_us(TargetSlot::new(1), Series::Whole(0), &RULE),
            None
        );
    }

    #[test]
    fn slow_responses_are_late_even_if_the_quantile_is_among_them() {
        for slow in [3, 4, 5, 6, 10, 20] {
            let mut hedges = Hedges::default();
            for step in 0..1000 {
                let latency_us = if step % 100 < slow { 1_000_000 } else { 50_000 };
                hedges.measure(TargetSlot::new(1), SERIES, latency_us, step);
            }
            let late_us = hedges
                .late_after_us(TargetSlot::new(1), SERIES, &RULE)
                .unwrap();
            assert!((50_000..=160_000).contains(&late_us), "{slow} %: {late_us}");
        }
    }

    #[test]
    fn spending_never_exceeds_the_share_of_billed_tokens_whatever_the_traffic() {
        for seed in 0..50 {
            let mut hedges = Hedges::default();
            let (mut billed_tokens, mut spent, mut now_us) = (0, 0, 0);
            for step in 0..5000 {
                let draw = mix(seed, step);
                // Busy and quiet times, small and large requests.
                now_us += if draw.is_multiple_of(97) {
                    200_000_000
                } else {
                    draw % 50_000
                };
                let (input, output) = (draw % 3000, mix(draw, 1) % 500);
                let series = if draw.is_multiple_of(3) {
                    Series::Whole(0)
                } else {
                    SERIES
                };
                spent += hedges
                    .spend(ModelIndex::new(1), input, series, &RULE, now_us)
                    .unwrap_or(0);
                hedges.earn(ModelIndex::new(1), input + output, now_us);
                billed_tokens += input + output;
                assert!(
                    spent as f64 <= billed_tokens as f64 * RULE.extra_tokens_share_max,
                    "seed {seed}, step {step}"
                );
            }
            assert!(
                spent as f64 > billed_tokens as f64 * 0.005,
                "seed {seed}: hardly any"
            );
        }
    }

    /// With a median of 50 ms, and one response in twenty 20 times slower: hedging shortens the tail where the input is a small
    /// part of a request's tokens, because the budget then pays for enough hedges.
    #[test]
    fn hedging_shortens_the_tail_where_input_is_a_small_part_of_the_tokens() {
        let p99_us = |extra_tokens_share_max: f64, input: u64, output: u64, seed: u64| {
            let (mut hedges, rule) = (
                Hedges::default(),
                Rule {
                    extra_tokens_share_max,
                    ..RULE
                },
            );
            let draw = |salt: u64| {
                let jitter = 45_000.0 + 10_000.0 * fraction(mix(seed, salt));
                let slow = fraction(mix(seed, salt + 1)) <= 0.05;
                if slow { 20.0 * jitter } else { jitter }
            };
            let mut times = Vec::new();
            let (mut spent, mut billed_tokens) = (0, 0);
            for step in 0..20_000 {
                let now_us = step * 10_000;
                let mut time_us = draw(4 * step) as u64;
                if let Some(late_us) = hedges.late_after_us(TargetSlot::new(1), SERIES, &rule)
                    && time_us > late_us
                    && let Some(cost) =
                        hedges.spend(ModelIndex::new(1), input, SERIES, &rule, now_us)
                {
                    spent += cost;
                    time_us = time_us.min(late_us + draw(4 * step + 2) as u64);
                }
                hedges.measure(TargetSlot::new(1), SERIES, time_us, now_us);
                hedges.earn(ModelIndex::new(1), input + output, now_us);
                billed_tokens += input + output;
                times.push(time_us);
            }
            times.sort_unstable();
            (
                times[times.len() * 99 / 100],
                spent as f64 / billed_tokens as f64,
            )
        };
        for (name, input, output, reaches) in [
            ("input 20 %", 100, 400, true),
            ("input 33 %", 100, 200, true),
            ("input 90 %", 900, 100, false),
        ] {
            for seed in 0..5 {
                let (without_us, _) = p99_us(0.0, input, output, seed);
                let (with_us, share) = p99_us(0.02, input, output, seed);
                let ratio = with_us as f64 / without_us as f64;
                println!(
                    "{name}: p99 {with_us} µs against {without_us} µs, {ratio:.3}; spent {share:.4}"
                );
                assert!(share <= 0.02);
                assert_eq!(ratio <= 0.4, reaches, "{name}, seed {seed}: {ratio}");
            }
        }
    }
}
