//! How often a hit by meaning is wrong, learned from the operator's own traffic.
//!
//! Labels are pooled per model. For each least score of a grid there is a bound that holds at all times; when
//! it shows that the wished rate is exceeded from that score on, the model's least score goes up. It
//! never goes below the shipped calibration. The data core reads one swapped table and adds to atomics.

use crate::base::confidence_sequence::Sequence;
use crate::base::names::Name;
use crate::cache::quality::compare::Label;
use crate::cache::quality::sample_budget::SampleBudget;
use arc_swap::ArcSwap;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

type Map<K, V> = HashMap<K, V, foldhash::fast::RandomState>;

/// Least scores with a bound of their own: from 0.6 to 1.325, as far as the calibration has scores.
const GRID: usize = 30;
const GRID_FROM: f32 = 0.6;
const GRID_STEP: f32 = 0.025;
/// Probability that any bound of a model fails, at any time; shared among the grid.
pub(crate) const ALPHA: f64 = 0.05;

/// What is known of the tier's quality.
#[derive(Default)]
pub struct Quality {
    pools: Mutex<Map<Name, ModelCounts>>,
    /// Least score by model, where labels have raised it.
    raised: ArcSwap<Map<Name, f32>>,
    /// Places and tokens of samples, in all.
    pub sample_budget: SampleBudget,
    samples: [AtomicU64; 3],
}

/// What became of a would-be sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sample {
    /// Answered and compared.
    Compared,
    /// The upstream gave no answer that can be compared.
    Failed,
    /// The budget of the hour is spent.
    OverBudget,
}

impl Sample {
    /// All, for metrics.
    pub const ALL: [(Self, &'static str); 3] = [
        (Self::Compared, "compared"),
        (Self::Failed, "failed"),
        (Self::OverBudget, "over-budget"),
    ];
}

/// Labels of one model.
#[derive(Clone, Default)]
struct ModelCounts {
    right: u64,
    wrong: u64,
    unknown: u64,
    /// Tokens that the would-be hits cost when they were bought.
    tokens: u64,
    /// Labels from each score of the grid on.
    grid: [Sequence; GRID],
    input: f64,
}

/// A model's pool, for the admin side.
pub struct QualityReport {
    /// The model.
    pub model: Name,
    /// Labels.
    pub right: u64,
    /// Labels.
    pub wrong: u64,
    /// Comparisons that told nothing.
    pub unknown: u64,
    /// Tokens that the compared hits cost when they were bought.
    pub tokens: u64,
    /// Wrong ÷ labelled hits of what is served now, and the interval that holds at all times.
    pub rate: Option<f64>,
    /// Its ends.
    pub interval: (f64, f64),
    /// The least score, if labels have raised it; infinite when nothing is served by meaning any more.
    pub raised: Option<f32>,
}

/// A label, and what it is of.
#[derive(Debug, Clone, Copy)]
pub struct Observation {
    /// The model.
    pub model: Name,
    /// Score of the hit.
    pub score: f32,
    /// The label.
    pub label: Label,
    /// Tokens that the cached answer cost.
    pub tokens: u64,
    /// The wished rate of wrong hits.
    pub input: f64,
}

fn grid_score(at: usize) -> f32 {
    #[allow(clippy::cast_precision_loss)]
    let steps = at as f32;
    GRID_FROM + GRID_STEP * steps
}

impl Quality {
    /// Adds a label; raises the model's least score if its bounds say so.
    pub fn add(&self, seen: &Observation) {
        let mut pools = self.pools.lock();
        let pool = pools.entry(seen.model).or_default();
        pool.tokens += seen.tokens;
        pool.input = seen.input;
        let is_wrong = match seen.label {
            Label::Unknown => {
                pool.unknown += 1;
                return;
            }
            Label::Wrong => {
                pool.wrong += 1;
                true
            }
            Label::Right => {
                pool.right += 1;
                false
            }
        };
        for (at, sequence) in pool.grid.iter_mut().enumerate() {
            if at == 0 || seen.score >= grid_score(at) {
                sequence.add(is_wrong);
            }
        }
        let raised = pool.raised();
        let now = self.raised.load();
        if now.get(&seen.model).copied() != raised {
            let mut next = Map::clone(&now);
            match raised {
                Some(score) => next.insert(seen.model, score),
                None => next.remove(&seen.model),
            };
            self.raised.store(Arc::new(next));
        }
    }

    /// The model's least score, where labels have raised it. Wait-free.
    #[must_use]
    pub fn raised(&self, model: Name) -> Option<f32> {
        self.raised.load().get(&model).copied()
    }

    /// Whether a sample of about so many tokens is within the budget of this hour; takes it if it is.
    pub fn may_sample(&self, tokens: u64, tokens_max: u64, hour: u64) -> bool {
        let fits = self.sample_budget.spend(tokens, tokens_max, hour);
        if !fits {
            self.sampled(Sample::OverBudget);
        }
        fits
    }

    /// Counts a sample.
    pub fn sampled(&self, sample: Sample) {
        if let Some(count) = self.samples.get(sample as usize) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Samples of one kind.
    #[must_use]
    pub fn samples(&self, sample: Sample) -> u64 {
        let count = self.samples.get(sample as usize);
        count.map_or(0, |count| count.load(Ordering::Relaxed))
    }

    /// All pools, by the models' names.
    #[must_use]
    pub fn views(&self) -> Vec<QualityReport> {
        let pools = self.pools.lock();
        let mut views: Vec<QualityReport> = pools
            .iter()
            .map(|(model, pool)| pool.view(*model))
            .collect();
        views.sort_by_key(|view| view.model.text());
        views
    }
}

impl ModelCounts {
    /// The least score of the grid that is not shown to exceed the wish; `None` when that is the first.
    fn raised(&self) -> Option<f32> {
        #[allow(clippy::cast_precision_loss)]
        let alpha = ALPHA / GRID as f64;
        let keeps = |sequence: &Sequence| sequence.interval(alpha).0 <= self.input;
        // From loose to strict: what is shown to be too loose stays so, whatever is stricter.
        let last = self.grid.iter().rposition(|sequence| !keeps(sequence))?;
        Some(match last + 1 {
            GRID => f32::INFINITY,
            at => grid_score(at),
        })
    }

    fn view(&self, model: Name) -> QualityReport {
        let raised = self.raised();
        let served = self.grid.iter().enumerate();
        let mut served =
            served.skip_while(|(at, _)| raised.is_some_and(|least| grid_score(*at) < least));
        let sequence = served.next().map(|(_, sequence)| *sequence);
        let sequence = sequence.unwrap_or_default();
        QualityReport {
            model,
            right: self.right,
            wrong: self.wrong,
            unknown: self.unknown,
            tokens: self.tokens,
            rate: sequence.estimate(),
            interval: sequence.interval(ALPHA),
            raised,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::quality::sample_budget::OPEN_MAX;

    fn seen(score: f32, label: Label) -> Observation {
        Observation {
            model: Name::new("quality-test"),
            score,
            label,
            tokens: 10,
            input: 0.01,
        }
    }

    #[test]
    fn the_least_score_goes_up_past_what_is_shown_to_be_wrong_and_never_below_the_start() {
        let (quality, model) = (Quality::default(), Name::new("quality-test"));
        for _ in 0..50 {
            quality.add(&seen(1.2, Label::Right));
        }
        assert_eq!(quality.raised(model), None);
        // Half of what lies below 1.0 is wrong.
        for at in 0..40 {
            let label = if at % 2 == 0 {
                Label::Wrong
            } else {
                Label::Right
            };
            quality.add(&seen(0.98, label));
            quality.add(&seen(0.98, Label::Unknown));
        }
        let raised = quality.raised(model).unwrap();
        assert!(raised > 0.98 && raised < 1.2, "{raised}");
        let views = quality.views();
        let view = &views[0];
        assert_eq!((view.right, view.wrong, view.unknown), (70, 20, 40));
        // Of what is served now, none was wrong.
        assert_eq!((view.rate, view.interval.0), (Some(0.0), 0.0));
        assert_eq!(view.tokens, 1300);
        for _ in 0..60 {
            quality.add(&seen(1.4, Label::Wrong));
        }
        assert_eq!(quality.raised(model), Some(f32::INFINITY));
    }

    #[test]
    fn the_budget_is_per_hour() {
        let quality = Quality::default();
        assert!(quality.may_sample(60, 100, 1));
        assert!(!quality.may_sample(60, 100, 1));
        quality.sample_budget.settle(60, 20);
        assert!(quality.may_sample(60, 100, 1));
        assert_eq!(quality.sample_budget.tokens(), 80);
        assert!(quality.may_sample(100, 100, 2));
        assert!(!quality.may_sample(1, 0, 3));
        assert_eq!(quality.samples(Sample::OverBudget), 2);
        let entered = (0..2 * OPEN_MAX)
            .filter(|_| quality.sample_budget.enter())
            .count();
        assert_eq!(
            (entered as u64, quality.sample_budget.open()),
            (OPEN_MAX, OPEN_MAX)
        );
        quality.sample_budget.leave();
        assert!(quality.sample_budget.enter());
    }
}
