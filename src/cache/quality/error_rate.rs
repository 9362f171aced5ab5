//! The measured rate of wrong semantic hits, and the score that each model needs because of it.
//!
//! Labels are counted per model. An anytime-valid confidence bound is computed at each score of a grid; when a
//! bound shows that hits from that score on exceed the configured error rate, the model's least score is raised.
//! It never falls below the shipped calibration. The data core reads one swapped table and adds to atomics.

use crate::base::confidence_sequence::Sequence;
use crate::base::names::Name;
use crate::cache::quality::compare::Agreement;
use crate::cache::quality::sample_budget::SampleBudget;
use arc_swap::ArcSwap;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

type Map<K, V> = HashMap<K, V, foldhash::fast::RandomState>;

/// Scores with a bound of their own: from 0.6 to 1.325, the range of the calibration.
const GRID: usize = 30;
const GRID_FROM: f32 = 0.6;
const GRID_STEP: f32 = 0.025;
/// Probability that any bound of a model is ever wrong; divided among the scores of the grid.
pub(crate) const ALPHA: f64 = 0.05;

/// Labels and raised scores of all models.
#[derive(Default)]
pub(crate) struct Quality {
    counts: Mutex<Map<Name, ModelCounts>>,
    /// Least score by model, where labels have raised it.
    raised: ArcSwap<Map<Name, f32>>,
    /// Permits and tokens of all samples.
    pub sample_budget: SampleBudget,
    samples: [AtomicU64; 3],
}

/// The outcome of a hit that was drawn as a sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SampleOutcome {
    /// A fresh response arrived and was compared.
    Compared,
    /// The upstream sent no response that can be compared.
    Failed,
    /// The budget of the hour is spent.
    OverBudget,
}

impl SampleOutcome {
    /// All outcomes with their label values.
    pub(crate) const ALL: [(Self, &'static str); 3] = [
        (Self::Compared, "compared"),
        (Self::Failed, "failed"),
        (Self::OverBudget, "over-budget"),
    ];
}

/// Counts of one model.
#[derive(Clone, Default)]
struct ModelCounts {
    right: u64,
    wrong: u64,
    unknown: u64,
    /// Tokens that the cached responses of the compared hits cost.
    tokens: u64,
    /// At each step of the grid: labels of hits with at least that score.
    grid: [Sequence; GRID],
    wrong_hit_rate_max: f64,
}

/// Counts and bounds of one model, for the admin API.
pub(crate) struct QualityReport {
    pub model: Name,
    pub right: u64,
    pub wrong: u64,
    /// Comparisons that decided nothing.
    pub unknown: u64,
    /// Tokens that the cached responses of the compared hits cost.
    pub tokens: u64,
    /// Wrong ÷ labelled hits, of hits with at least the score in force.
    pub rate: Option<f64>,
    /// Ends of the anytime-valid interval of `rate`.
    pub interval: (f64, f64),
    /// The least score, if labels have raised it; infinite when the model gets no semantic hits any more.
    pub raised: Option<f32>,
}

/// A compared hit.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Observation {
    pub model: Name,
    /// Score of the hit.
    pub score: f32,
    /// Whether the cached response agrees with the fresh one.
    pub agreement: Agreement,
    /// Tokens that the cached response cost.
    pub tokens: u64,
    /// The configured rate of wrong hits.
    pub wrong_hit_rate_max: f64,
}

fn grid_score(step: usize) -> f32 {
    GRID_FROM + GRID_STEP * step as f32
}

impl Quality {
    /// Adds a compared hit, and raises the model's least score if its bounds require it.
    pub(crate) fn add(&self, observation: &Observation) {
        let model = observation.model;
        let mut all_counts = self.counts.lock();
        let counts = all_counts.entry(model).or_default();
        counts.tokens = counts.tokens.saturating_add(observation.tokens);
        counts.wrong_hit_rate_max = observation.wrong_hit_rate_max;
        let is_wrong = match observation.agreement {
            Agreement::Unknown => {
                counts.unknown += 1;
                return;
            }
            Agreement::Different => {
                counts.wrong += 1;
                true
            }
            Agreement::Same => {
                counts.right += 1;
                false
            }
        };
        for (step, sequence) in counts.grid.iter_mut().enumerate() {
            if step == 0 || observation.score >= grid_score(step) {
                sequence.add(is_wrong);
            }
        }
        let raised = counts.raised();
        let current = self.raised.load();
        if current.get(&model).copied() != raised {
            let mut next = Map::clone(&current);
            match raised {
                Some(score) => next.insert(model, score),
                None => next.remove(&model),
            };
            self.raised.store(Arc::new(next));
        }
    }

    /// The model's least score, where labels have raised it. Wait-free.
    #[must_use]
    pub(crate) fn raised(&self, model: Name) -> Option<f32> {
        self.raised.load().get(&model).copied()
    }

    /// Reserves `tokens` of the budget of this hour for a sample; false, and counted, when they exceed it.
    pub(crate) fn reserve_sample(&self, tokens: u64, tokens_max: u64, hour: u64) -> bool {
        let fits = self.sample_budget.reserve(tokens, tokens_max, hour);
        if !fits {
            self.count_sample(SampleOutcome::OverBudget);
        }
        fits
    }

    pub(crate) fn count_sample(&self, outcome: SampleOutcome) {
        if let Some(count) = self.samples.get(outcome as usize) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Samples with this outcome.
    #[must_use]
    pub(crate) fn samples(&self, outcome: SampleOutcome) -> u64 {
        let count = self.samples.get(outcome as usize);
        count.map_or(0, |count| count.load(Ordering::Relaxed))
    }

    /// The reports of all models, sorted by name.
    #[must_use]
    pub(crate) fn reports(&self) -> Vec<QualityReport> {
        let all_counts = self.counts.lock();
        let mut reports: Vec<QualityReport> = all_counts
            .iter()
            .map(|(model, counts)| counts.report(*model))
            .collect();
        reports.sort_by_key(|report| report.model.text());
        reports
    }
}

impl ModelCounts {
    /// The lowest score of the grid above every score whose hits exceed the configured error rate; `None`
    /// when no score does.
    fn raised(&self) -> Option<f32> {
        let alpha = ALPHA / GRID as f64;
        let exceeds = |sequence: &Sequence| sequence.interval(alpha).0 > self.wrong_hit_rate_max;
        // The grid is in rising order: a score below one that exceeds the rate is not used either.
        let last = self.grid.iter().rposition(exceeds)?;
        Some(match last + 1 {
            GRID => f32::INFINITY,
            step => grid_score(step),
        })
    }

    fn report(&self, model: Name) -> QualityReport {
        let raised = self.raised();
        let is_served =
            |step: &usize| raised.is_none_or(|score_min| grid_score(*step) >= score_min);
        let sequence = (0..GRID)
            .find(is_served)
            .and_then(|step| self.grid.get(step).copied());
        // Nothing is served: no labels count.
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
    use crate::cache::quality::sample_budget::IN_FLIGHT_MAX;

    fn observation(score: f32, agreement: Agreement) -> Observation {
        Observation {
            model: Name::new("quality-test"),
            score,
            agreement,
            tokens: 10,
            wrong_hit_rate_max: 0.01,
        }
    }

    #[test]
    fn the_least_score_rises_above_wrong_hits_and_never_falls_below_the_calibration() {
        let (quality, model) = (Quality::default(), Name::new("quality-test"));
        for _ in 0..50 {
            quality.add(&observation(1.2, Agreement::Same));
        }
        assert_eq!(quality.raised(model), None);
        // Half of the hits below 1.0 are wrong.
        for at in 0..40 {
            let agreement = if at % 2 == 0 {
                Agreement::Different
            } else {
                Agreement::Same
            };
            quality.add(&observation(0.98, agreement));
            quality.add(&observation(0.98, Agreement::Unknown));
        }
        let raised = quality.raised(model).unwrap();
        assert!(raised > 0.98 && raised < 1.2, "{raised}");
        let reports = quality.reports();
        let report = &reports[0];
        assert_eq!((report.right, report.wrong, report.unknown), (70, 20, 40));
        // No hit with at least the score in force was wrong.
        assert_eq!((report.rate, report.interval.0), (Some(0.0), 0.0));
        assert_eq!(report.tokens, 1300);
        for _ in 0..60 {
            quality.add(&observation(1.4, Agreement::Different));
        }
        assert_eq!(quality.raised(model), Some(f32::INFINITY));
    }

    #[test]
    fn the_budget_is_per_hour() {
        let quality = Quality::default();
        assert!(quality.reserve_sample(60, 100, 1));
        assert!(!quality.reserve_sample(60, 100, 1));
        quality.sample_budget.record_spent(60, 20);
        assert!(quality.reserve_sample(60, 100, 1));
        assert_eq!(quality.sample_budget.tokens(), 80);
        assert!(quality.reserve_sample(100, 100, 2));
        assert!(!quality.reserve_sample(1, 0, 3));
        assert_eq!(quality.samples(SampleOutcome::OverBudget), 2);
        let permits = (0..2 * IN_FLIGHT_MAX)
            .filter(|_| quality.sample_budget.take_permit())
            .count();
        assert_eq!(
            (permits as u64, quality.sample_budget.in_flight()),
            (IN_FLIGHT_MAX, IN_FLIGHT_MAX)
        );
        quality.sample_budget.release_permit();
        assert!(quality.sample_budget.take_permit());
    }
}
