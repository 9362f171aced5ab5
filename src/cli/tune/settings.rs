//! Hits and wrong hits at each setting, and the setting that keeps the target rate.

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

/// Hits of a setting on the pairs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Point {
    /// Pairs that would be hits.
    pub hits: u64,
    /// Wrong ones of them.
    pub wrong: u64,
    /// All pairs.
    pub pairs: u64,
}

/// A setting and its hits.
pub(crate) struct Setting {
    /// The value in the configuration: `wrong_hit_rate_max` for the verifier, or a cosine.
    pub value: f64,
    /// A pair is a hit from this score, or cosine, on.
    pub least: f32,
    /// Its hits on the pairs.
    pub point: Point,
}

/// All settings, and the choice among them.
pub(crate) struct Findings {
    /// The target: largest share of hits that may be wrong.
    pub target_rate: f64,
    /// The verifier at several rates, strict to loose.
    pub verifier: Vec<Setting>,
    /// Plain cosine, without rules, at several thresholds, strict to loose.
    pub cosine: Vec<Setting>,
    /// Index in `verifier` of the loosest setting whose bound keeps the target.
    pub recommended: Option<usize>,
    /// Index in `cosine` of the same.
    pub best_cosine: Option<usize>,
    /// Hits, none of them wrong, that would be enough for the bound to keep the target.
    pub hits_needed: u64,
    /// Each point above every score that occurs, strict to loose; and for the cosine.
    pub curves: [Vec<Point>; 2],
}

impl Point {
    fn new(candidates: &[Candidate], is_hit: impl Fn(&Candidate) -> bool) -> Self {
        let hits = candidates.iter().filter(|candidate| is_hit(candidate));
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

fn share(part: u64, all: u64) -> f64 {
    part as f64 / all.max(1) as f64
}

impl Findings {
    /// Tries the settings.
    ///
    /// # Errors
    /// There is no verifier.
    pub(crate) fn new(judged: &Judged, target_rate: f64) -> Result<Self, String> {
        let verifier = Verifier::shipped()?;
        let candidates = &judged.candidates;
        let score = |candidate: &Candidate| {
            candidate
                .score
                .filter(|_| candidate.cosine >= SIMILARITY_FLOOR)
        };
        let by_rate = RATES.iter().filter_map(|rate| {
            let least = verifier.score_for(*rate)?;
            let is_hit =
                |candidate: &Candidate| score(candidate).is_some_and(|score| score >= least);
            let point = Point::new(candidates, is_hit);
            Some(Setting {
                value: *rate,
                least,
                point,
            })
        });
        let by_cosine = COSINES.iter().map(|least| Setting {
            value: f64::from(*least),
            least: *least,
            point: Point::new(candidates, |candidate| candidate.cosine >= *least),
        });
        let (by_rate, by_cosine): (Vec<_>, Vec<_>) = (by_rate.collect(), by_cosine.collect());
        Ok(Self {
            target_rate,
            recommended: loosest(&by_rate, target_rate),
            best_cosine: loosest(&by_cosine, target_rate),
            verifier: by_rate,
            cosine: by_cosine,
            hits_needed: needed(target_rate, ALPHA),
            curves: [
                curve(candidates, score),
                curve(candidates, |candidate| Some(candidate.cosine)),
            ],
        })
    }
}

/// From strict to loose, the last setting whose bound keeps the target, up to the first that does not
/// (fixed-sequence testing: the confidence holds for all of them at once). Settings with too few hits
/// for any bound are skipped.
fn loosest(settings: &[Setting], target_rate: f64) -> Option<usize> {
    let keeps = |setting: &Setting| setting.point.interval().1 <= target_rate;
    let first = settings.iter().position(keeps)?;
    let keeping = settings
        .iter()
        .skip(first)
        .take_while(|setting| keeps(setting));
    let last = first + keeping.count() - 1;
    // A looser setting without further hits is not needed.
    let hits = settings.get(last)?.point.hits;
    settings
        .iter()
        .position(|setting| setting.point.hits == hits)
}

/// Hits and wrong hits as the least value goes down, at most [`CURVE_POINTS`] of them.
fn curve(candidates: &[Candidate], value: impl Fn(&Candidate) -> Option<f32>) -> Vec<Point> {
    let valued = candidates
        .iter()
        .filter_map(|candidate| Some((value(candidate)?, candidate.same)));
    let mut sorted: Vec<(f32, bool)> = valued.collect();
    sorted.sort_by(|left, right| right.0.total_cmp(&left.0));
    let every = sorted.len().div_ceil(CURVE_POINTS).max(1);
    let (mut wrong, mut points) = (0, Vec::new());
    for (index, (_, same)) in sorted.iter().enumerate() {
        wrong += u64::from(!same);
        let is_last = index + 1 == sorted.len();
        if (index + 1) % every == 0 || is_last {
            points.push(Point {
                hits: index as u64 + 1,
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
