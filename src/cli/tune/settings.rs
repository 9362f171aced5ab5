//! Hits and wrong hits at each setting, and which one keeps the wish.

use crate::base::statistics::{lower, needed, upper};
use crate::cache::verify::model::Verifier;
use crate::cache::verify::verify::SIMILARITY_FLOOR;
use crate::cli::tune::pairs::{Candidate, Judged};

/// Probability that a bound does not hold: 5 % on one side, as in the shipped calibration.
pub(crate) const ALPHA: f64 = 0.05;

/// Rates of `wrong_hit_rate_max` that are tried, strict to loose.
const RATES: [f64; 12] = [
    0.004, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2,
];
/// Cosines that are tried, strict to loose.
const COSINES: [f32; 9] = [0.99, 0.98, 0.97, 0.96, 0.95, 0.925, 0.9, 0.85, 0.8];
/// Points of a curve.
const CURVE_POINTS: usize = 200;

/// What a setting does on the pairs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Point {
    /// Pairs that would be hits.
    pub hits: u64,
    /// Wrong ones of them.
    pub wrong: u64,
    /// All pairs.
    pub pairs: u64,
}

/// A setting and what it does.
pub(crate) struct Setting {
    /// What to write: `wrong_hit_rate_max` for the verifier, a cosine else.
    pub value: f64,
    /// The score, or the cosine, from which on a pair is a hit.
    pub least: f32,
    /// On the pairs.
    pub point: Point,
}

/// All of it.
pub(crate) struct Findings {
    /// The wish.
    pub input: f64,
    /// The verifier at several rates, strict to loose.
    pub verifier: Vec<Setting>,
    /// Plain cosine, without rules, at several thresholds, strict to loose.
    pub cosine: Vec<Setting>,
    /// Place in `verifier` of the loosest setting that was shown to keep the wish.
    pub recommended: Option<usize>,
    /// Place in `cosine` of the same.
    pub best_cosine: Option<usize>,
    /// Hits without a wrong one that would show the wish to be kept.
    pub hits_needed: u64,
    /// Each point above every score that occurs, strict to loose; and for the cosine.
    pub curves: [Vec<Point>; 2],
}

impl Point {
    fn at(candidates: &[Candidate], is_hit: impl Fn(&Candidate) -> bool) -> Self {
        let hits = candidates.iter().filter(|one| is_hit(one));
        let (mut count, mut wrong) = (0, 0);
        for hit in hits {
            count += 1;
            wrong += u64::from(!hit.same);
        }
        Self {
            hits: count,
            wrong,
            pairs: candidates.len() as u64,
        }
    }

    /// Hits as a share of all pairs.
    #[must_use]
    pub(crate) fn hit_rate(&self) -> f64 {
        share(self.hits, self.pairs)
    }

    /// Wrong hits as a share of hits.
    #[must_use]
    pub(crate) fn wrong_rate(&self) -> f64 {
        share(self.wrong, self.hits)
    }

    /// The two-sided 90 % interval of that share; its upper end alone holds with 95 %.
    #[must_use]
    pub(crate) fn interval(&self) -> (f64, f64) {
        (
            lower(self.wrong, self.hits, ALPHA),
            upper(self.wrong, self.hits, ALPHA),
        )
    }
}

#[allow(clippy::cast_precision_loss)]
fn share(part: u64, all: u64) -> f64 {
    part as f64 / all.max(1) as f64
}

impl Findings {
    /// Tries the settings.
    ///
    /// # Errors
    /// There is no verifier.
    pub(crate) fn new(judged: &Judged, input: f64) -> Result<Self, String> {
        let verifier = Verifier::shipped()?;
        let candidates = &judged.candidates;
        let score = |one: &Candidate| one.score.filter(|_| one.cosine >= SIMILARITY_FLOOR);
        let by_rate = RATES.iter().filter_map(|rate| {
            let least = verifier.score_for(*rate)?;
            let is_hit = |one: &Candidate| score(one).is_some_and(|score| score >= least);
            let point = Point::at(candidates, is_hit);
            Some(Setting {
                value: *rate,
                least,
                point,
            })
        });
        let by_cosine = COSINES.iter().map(|least| Setting {
            value: f64::from(*least),
            least: *least,
            point: Point::at(candidates, |one| one.cosine >= *least),
        });
        let (by_rate, by_cosine): (Vec<_>, Vec<_>) = (by_rate.collect(), by_cosine.collect());
        Ok(Self {
            input,
            recommended: loosest(&by_rate, input),
            best_cosine: loosest(&by_cosine, input),
            verifier: by_rate,
            cosine: by_cosine,
            hits_needed: needed(input, ALPHA),
            curves: [
                curve(candidates, score),
                curve(candidates, |one| Some(one.cosine)),
            ],
        })
    }
}

/// From strict to loose, the last setting whose bound keeps the wish, up to the first that does not
/// (fixed-sequence testing: the confidence holds for all of them at once). Settings that are too strict to
/// show anything are passed over.
fn loosest(settings: &[Setting], input: f64) -> Option<usize> {
    let keeps = |one: &Setting| one.point.interval().1 <= input;
    let first = settings.iter().position(keeps)?;
    let kept = settings.iter().skip(first).take_while(|one| keeps(one));
    let last = first + kept.count() - 1;
    // A looser one that hits nothing more is not needed.
    let hits = settings.get(last)?.point.hits;
    settings.iter().position(|one| one.point.hits == hits)
}

/// Hits and wrong hits as the least value goes down, at most [`CURVE_POINTS`] of them.
fn curve(candidates: &[Candidate], value: impl Fn(&Candidate) -> Option<f32>) -> Vec<Point> {
    let valued = candidates
        .iter()
        .filter_map(|one| Some((value(one)?, one.same)));
    let mut sorted: Vec<(f32, bool)> = valued.collect();
    sorted.sort_by(|one, other| other.0.total_cmp(&one.0));
    let every = sorted.len().div_ceil(CURVE_POINTS).max(1);
    let (mut wrong, mut points) = (0, Vec::new());
    for (at, (_, same)) in sorted.iter().enumerate() {
        wrong += u64::from(!same);
        let is_last = at + 1 == sorted.len();
        if (at + 1) % every == 0 || is_last {
            points.push(Point {
                hits: at as u64 + 1,
                wrong,
                pairs: candidates.len() as u64,
            });
        }
    }
    points
}

#[cfg(test)]
mod tests {
    use super::*;

    fn setting(hits: u64, wrong: u64) -> Setting {
        Setting {
            value: 0.0,
            least: 0.0,
            point: Point {
                hits,
                wrong,
                pairs: 1000,
            },
        }
    }

    #[test]
    fn the_loosest_setting_before_the_first_that_fails() {
        let settings = [
            setting(100, 0),
            setting(299, 0),
            setting(480, 1),
            setting(500, 9),
            setting(2000, 1),
        ];
        assert_eq!(loosest(&settings, 0.01), Some(2));
        assert_eq!(loosest(&settings, 0.05), Some(4));
        assert_eq!(loosest(&settings[..1], 0.01), None);
        let equal = [setting(300, 0), setting(400, 0), setting(400, 0)];
        assert_eq!(loosest(&equal, 0.01), Some(1));
    }
}
