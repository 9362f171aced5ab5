//! The trained verifier: how likely a stored response is right for a question.
//!
//! A sum of small trees over the features is added to the cosine. A calibration table holds the share of
//! wrong hits above each score, counted on pairs that the trees had not seen. Made by `models/verifier.py`;
//! `models/verifier/README.md` describes the data.

use crate::cache::verify::features::{Features, NAMES};
use serde::de::IgnoredAny;
use std::sync::LazyLock;

static SHIPPED: LazyLock<Result<Verifier, String>> =
    LazyLock::new(|| Verifier::read(include_str!("../../../models/verifier/verifier.json")));

/// Scores pairs of questions.
#[derive(Debug, serde::Deserialize)]
pub struct Verifier {
    version: u32,
    features: Vec<String>,
    logit_weight: f32,
    trees: Vec<Tree>,
    calibration: Vec<Step>,
    /// Offset and slope of the log-odds over the score.
    probability: [f32; 2],
    /// Static cosine below which a look-up is certain to miss. At an error rate of 0.01 this loses at most
    /// 0.5 % of the right hits, counted on the same pairs as the calibration.
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

/// A score; the number of hits at or above it, and of wrong ones; the upper bound of the share of wrong ones.
#[derive(Debug, serde::Deserialize)]
struct Step(f32, IgnoredAny, IgnoredAny, f64);

/// Bounds of the log-odds, as in training.
const LOGIT_MAX: f32 = 14.0;

impl Verifier {
    /// The verifier that is compiled into this program.
    ///
    /// # Errors
    /// The file was made for features that this program does not compute.
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

    /// The score of a pair: its cosine plus the weighted sum of the trees.
    #[must_use]
    pub fn score(&self, features: &Features) -> f32 {
        let logit: f32 = self.trees.iter().map(|tree| tree.value(features)).sum();
        let [cosine, ..] = features;
        cosine + self.logit_weight * logit.clamp(-LOGIT_MAX, LOGIT_MAX)
    }

    /// The probability that a response with this score is right, by the calibration.
    #[must_use]
    pub(crate) fn confidence(&self, score: f32) -> f32 {
        let [offset, slope] = self.probability;
        1.0 / (1.0 + (-(offset + slope * score)).exp())
    }

    /// The least score above which at most `rate` of the hits are wrong, by the upper end of a one-sided
    /// 95 % confidence interval (Clopper and Pearson 1934). `None` when the calibration shows this for no score.
    #[must_use]
    pub fn score_for(&self, rate: f64) -> Option<f32> {
        // From the score with the least bound towards looser ones, until one fails (fixed-sequence
        // testing). Stricter scores have too few hits to show anything.
        let steps = self.calibration.get(..=self.best()?)?;
        let good = steps.iter().rev().take_while(|step| step.3 <= rate);
        good.last().map(|step| step.0)
    }

    /// The least rate for which [`Verifier::score_for`] has a score.
    #[must_use]
    pub(crate) fn least_rate(&self) -> f64 {
        let best = self.best().and_then(|index| self.calibration.get(index));
        best.map_or(1.0, |step| step.3)
    }

    /// The score with the least bound.
    #[must_use]
    pub(crate) fn strictest(&self) -> f32 {
        let best = self.best().and_then(|index| self.calibration.get(index));
        best.map_or(f32::INFINITY, |step| step.0)
    }

    /// The step with the least bound.
    fn best(&self) -> Option<usize> {
        let steps = self.calibration.iter().enumerate();
        steps
            .min_by(|(_, a), (_, b)| a.3.total_cmp(&b.3))
            .map(|(index, _)| index)
    }
}

impl Tree {
    fn value(&self, features: &Features) -> f32 {
        let mut successor = if self.feature.is_empty() { -1 } else { 0 };
        // More steps than nodes: the file is damaged and the tree has a cycle.
        for _ in 0..=self.feature.len() {
            let Ok(node) = usize::try_from(successor) else {
                let leaf = usize::try_from(-1 - successor).unwrap_or_default();
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
            successor = next.get(node).copied().unwrap_or(-1);
        }
        0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_verifier_fits_this_program_and_orders_rates() {
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
