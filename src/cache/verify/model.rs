//! The learned part: how likely is a stored answer right for this question?
//!
//! A sum of small trees over the features, added to the cosine, and a table of what share of hits was
//! wrong above each score, counted on pairs the trees had not seen. Made by `models/verifier.py`, which
//! says from what; `models/verifier/README.md` is its card.

use crate::cache::verify::features::{Features, NAMES};
use serde::de::IgnoredAny;
use std::sync::LazyLock;

static SHIPPED: LazyLock<Result<Verifier, String>> =
    LazyLock::new(|| Verifier::read(include_str!("../../../models/verifier/verifier.json")));

/// The verifier.
#[derive(Debug, serde::Deserialize)]
pub struct Verifier {
    version: u32,
    features: Vec<String>,
    logit_weight: f32,
    trees: Vec<Tree>,
    calibration: Vec<Step>,
    /// Offset and slope of the log-odds over the score.
    probability: [f32; 2],
    /// Static cosine below which a look-up is a certain miss: at the operating point of 0.01 that loses
    /// at most 0.5 % of the right hits, counted as the calibration.
    pub static_floor: f32,
}

/// A tree in parallel lists. A node's successor is another node, or `-1 - leaf`.
#[derive(Debug, serde::Deserialize)]
struct Tree {
    feature: Vec<usize>,
    threshold: Vec<f32>,
    low: Vec<i32>,
    high: Vec<i32>,
    leaf: Vec<f32>,
}

/// At or above a score: hits, wrong ones among them, and the upper bound of their share.
#[derive(Debug, serde::Deserialize)]
struct Step(f32, IgnoredAny, IgnoredAny, f64);

/// Bounds of the log-odds, as in training.
const LOGIT_MAX: f32 = 14.0;

impl Verifier {
    /// The one that is part of this program.
    ///
    /// # Errors
    /// The file was made for other features than this program computes.
    pub fn shipped() -> Result<&'static Self, &'static str> {
        SHIPPED.as_ref().map_err(String::as_str)
    }

    fn read(json: &str) -> Result<Self, String> {
        let verifier: Self = serde_json::from_str(json)
            .map_err(|error| format!("verifier.json cannot be read: {error}"))?;
        if verifier.version != 1 || verifier.features != NAMES {
            return Err("verifier.json was made for other features: run models/verifier.py".into());
        }
        Ok(verifier)
    }

    /// The score of a pair: its cosine, moved by what the trees say.
    #[must_use]
    pub fn score(&self, features: &Features) -> f32 {
        let logit: f32 = self.trees.iter().map(|tree| tree.value(features)).sum();
        let [cosine, ..] = features;
        cosine + self.logit_weight * logit.clamp(-LOGIT_MAX, LOGIT_MAX)
    }

    /// The probability that an answer of this score is right, by the calibration.
    #[must_use]
    pub fn confidence(&self, score: f32) -> f32 {
        let [offset, slope] = self.probability;
        1.0 / (1.0 + (-(offset + slope * score)).exp())
    }

    /// The least score above which at most `rate` of the hits are wrong, by the upper end of a one-sided
    /// 95 % confidence interval (Clopper and Pearson 1934). `None` when no score was shown to be that good.
    #[must_use]
    pub fn score_for(&self, rate: f64) -> Option<f32> {
        // From the score that is known best towards looser ones, until one fails (fixed-sequence
        // testing). Stricter scores than that have too few hits to show anything.
        let steps = self.calibration.get(..=self.best()?)?;
        let good = steps.iter().rev().take_while(|step| step.3 <= rate);
        good.last().map(|step| step.0)
    }

    /// The least rate that [`Verifier::score_for`] has a score for.
    #[must_use]
    pub fn least_rate(&self) -> f64 {
        let best = self.best().and_then(|at| self.calibration.get(at));
        best.map_or(1.0, |step| step.3)
    }

    /// The score that is known best: of all, the one with the least bound.
    #[must_use]
    pub fn strictest(&self) -> f32 {
        let best = self.best().and_then(|at| self.calibration.get(at));
        best.map_or(f32::INFINITY, |step| step.0)
    }

    /// The step with the least bound.
    fn best(&self) -> Option<usize> {
        let steps = self.calibration.iter().enumerate();
        steps
            .min_by(|one, other| one.1.3.total_cmp(&other.1.3))
            .map(|(at, _)| at)
    }
}

impl Tree {
    fn value(&self, features: &Features) -> f32 {
        let mut at = if self.feature.is_empty() { -1 } else { 0 };
        // A tree is finite: more steps than nodes would be a cycle in a damaged file.
        for _ in 0..=self.feature.len() {
            let Ok(node) = usize::try_from(at) else {
                let leaf = usize::try_from(-1 - at).unwrap_or_default();
                return self.leaf.get(leaf).copied().unwrap_or_default();
            };
            let (Some(feature), Some(threshold)) =
                (self.feature.get(node), self.threshold.get(node))
            else {
                return 0.0;
            };
            let value = features.get(*feature).copied().unwrap_or_default();
            let next = if value <= *threshold {
                &self.low
            } else {
                &self.high
            };
            at = next.get(node).copied().unwrap_or(-1);
        }
        0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_one_fits_this_program_and_orders_rates() {
        let verifier = Verifier::shipped().unwrap();
        let strict = verifier.score_for(0.01).unwrap();
        let loose = verifier.score_for(0.05).unwrap();
        assert!(strict > loose);
        assert!(verifier.score_for(0.0).is_none());
        assert!(verifier.least_rate() < 0.01);
        assert!(verifier.score_for(verifier.least_rate()).is_some());
        assert!(verifier.confidence(strict) > verifier.confidence(loose));
    }

    #[test]
    fn a_damaged_tree_ends() {
        let tree = Tree {
            feature: vec![0],
            threshold: vec![0.5],
            low: vec![0],
            high: vec![7],
            leaf: vec![],
        };
        let mut features = [0.0; NAMES.len()];
        assert_eq!(tree.value(&features), 0.0);
        features[0] = 1.0;
        assert_eq!(tree.value(&features), 0.0);
    }
}
