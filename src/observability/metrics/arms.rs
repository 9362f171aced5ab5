//! What is counted of the arms of experiments, and its lines on the metrics page.

use crate::base::names::Name;
use crate::observability::metrics::core_metrics::count;
use crate::observability::metrics::histogram::{DURATION_SECONDS, Histogram};
use crate::observability::metrics::prometheus::{Page, float};
use std::collections::HashMap;
use std::time::Duration;

type Map<K, V> = HashMap<K, V, foldhash::fast::RandomState>;

/// An arm of a model's experiment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ArmId {
    /// The model asked for.
    pub model: Name,
    /// The experiment.
    pub experiment: Name,
    /// The arm.
    pub arm: Name,
}

/// How one request of an arm went.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ArmRequest {
    /// `ok`, `cached`, `failover` (another arm's target answered), or what it failed with.
    pub outcome: &'static str,
    /// A provider was asked.
    pub was_asked: bool,
    /// The answer was streamed.
    pub is_stream: bool,
    /// From the request sent upstream to its first byte.
    pub first_byte: Option<Duration>,
    /// From the request's arrival to the end of its answer.
    pub duration: Duration,
    /// What was paid, in nano-dollars; `None` when nothing was bought, or the cost is not known.
    pub cost_nanousd: Option<u64>,
    /// Something was bought whose cost is not known.
    pub is_cost_unknown: bool,
}

/// A rating of an application.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ArmOutcome {
    /// A score above 0.
    Good,
    /// 0.
    Neutral,
    /// Below 0.
    Bad,
}

impl ArmOutcome {
    /// All, with their label values.
    pub(crate) const ALL: [(Self, &'static str); 3] = [
        (Self::Good, "good"),
        (Self::Neutral, "neutral"),
        (Self::Bad, "bad"),
    ];

    /// What a score says.
    #[must_use]
    pub(crate) fn of(score: f64) -> Self {
        match score {
            score if score > 0.0 => Self::Good,
            score if score < 0.0 => Self::Bad,
            _ => Self::Neutral,
        }
    }
}

/// Numbers of one arm.
#[derive(Debug, Clone)]
pub(crate) struct ArmStats {
    /// Requests by outcome.
    pub outcomes: Map<&'static str, u64>,
    /// Requests for which a provider was asked, less those that say nothing of it.
    pub asked: u64,
    /// Those of them that the arm's targets did not answer well.
    pub bad: u64,
    /// Times to the first token of streams.
    pub first_token: Histogram,
    /// Whole durations of streams.
    pub streams: Histogram,
    /// Whole durations of answers that are no streams.
    pub wholes: Histogram,
    /// What was paid, in nano-dollars.
    pub cost_nanousd: u64,
    /// Answers whose cost is not known.
    pub cost_unknown: u64,
    /// Ratings, in the order of [`Verdict::ALL`].
    pub ratings: [u64; 3],
    /// Sum of their scores.
    pub score_sum: f64,
}

impl Default for ArmStats {
    fn default() -> Self {
        Self {
            outcomes: Map::default(),
            asked: 0,
            bad: 0,
            first_token: Histogram::new(DURATION_SECONDS),
            streams: Histogram::new(DURATION_SECONDS),
            wholes: Histogram::new(DURATION_SECONDS),
            cost_nanousd: 0,
            cost_unknown: 0,
            ratings: [0; 3],
            score_sum: 0.0,
        }
    }
}

/// Outcomes that say nothing of an arm: the client or the process ended them.
const NEUTRAL: [&str; 2] = ["client_disconnected", "shutting_down"];

impl ArmStats {
    fn record(&mut self, request: &ArmRequest) {
        count(&mut self.outcomes, request.outcome);
        self.cost_nanousd += request.cost_nanousd.unwrap_or(0);
        self.cost_unknown += u64::from(request.is_cost_unknown);
        if !request.was_asked || NEUTRAL.contains(&request.outcome) {
            return;
        }
        self.asked += 1;
        if request.outcome != "ok" {
            self.bad += 1;
            return;
        }
        let total = request.duration.as_secs_f64();
        if !request.is_stream {
            return self.wholes.record(total);
        }
        self.streams.record(total);
        if let Some(first_byte) = request.first_byte {
            self.first_token.record(first_byte.as_secs_f64());
        }
    }

    /// Adds another core's, or another arm's.
    pub(crate) fn merge(&mut self, other: &Self) {
        for (outcome, count) in &other.outcomes {
            *self.outcomes.entry(outcome).or_default() += count;
        }
        self.asked += other.asked;
        self.bad += other.bad;
        self.first_token.merge(&other.first_token);
        self.streams.merge(&other.streams);
        self.wholes.merge(&other.wholes);
        self.cost_nanousd += other.cost_nanousd;
        self.cost_unknown += other.cost_unknown;
        for (mine, theirs) in self.ratings.iter_mut().zip(other.ratings) {
            *mine += theirs;
        }
        self.score_sum += other.score_sum;
    }

    /// Mean score of its ratings; `None` without any.
    #[must_use]
    pub(crate) fn mean_score(&self) -> Option<f64> {
        let all: u64 = self.ratings.iter().sum();
        (all > 0).then(|| self.score_sum / float(all))
    }
}

/// All arms of a core, or the sum over several.
#[derive(Debug, Clone, Default)]
pub(crate) struct Arms(Map<ArmId, ArmStats>);

impl Arms {
    /// Counts a request.
    pub(crate) fn record(&mut self, arm: ArmId, request: &ArmRequest) {
        self.0.entry(arm).or_default().record(request);
    }

    /// Counts a rating, from -1 to 1.
    pub(crate) fn rate(&mut self, arm: ArmId, score: f64) {
        let stats = self.0.entry(arm).or_default();
        if let Some(count) = stats.ratings.get_mut(ArmOutcome::of(score) as usize) {
            *count += 1;
        }
        stats.score_sum += score;
    }

    /// Adds another core's.
    pub(crate) fn merge(&mut self, other: &Self) {
        for (arm, stats) in &other.0 {
            self.0.entry(*arm).or_default().merge(stats);
        }
    }

    /// One arm's.
    #[must_use]
    pub(crate) fn get(&self, arm: ArmId) -> Option<&ArmStats> {
        self.0.get(&arm)
    }

    /// Writes all; nothing where there are none.
    pub(crate) fn write(&self, page: &mut Page) {
        let mut arms: Vec<_> = self.0.iter().collect();
        if arms.is_empty() {
            return;
        }
        arms.sort_unstable_by_key(|(arm, _)| **arm);
        let name = "ringside_experiment_arm_requests_total";
        page.metric(name, "counter", "Requests of an arm, by outcome.");
        for (arm, stats) in &arms {
            let mut outcomes: Vec<_> = stats.outcomes.iter().collect();
            outcomes.sort_unstable();
            for (outcome, count) in outcomes {
                labelled(**arm, Some(("outcome", outcome)), |labels| {
                    page.sample(name, labels, float(*count));
                });
            }
        }
        let name = "ringside_experiment_arm_time_to_first_token_seconds";
        let help = "From a stream's request sent upstream to its first byte, by arm.";
        page.metric(name, "histogram", help);
        for (arm, stats) in &arms {
            labelled(**arm, None, |labels| {
                page.histogram(name, labels, &stats.first_token);
            });
        }
        let name = "ringside_experiment_arm_duration_seconds";
        let help = "From a request's arrival to the end of a good answer, by arm.";
        page.metric(name, "histogram", help);
        for (arm, stats) in &arms {
            for (value, histogram) in [("false", &stats.wholes), ("true", &stats.streams)] {
                labelled(**arm, Some(("stream", value)), |labels| {
                    page.histogram(name, labels, histogram);
                });
            }
        }
        costs_and_ratings(&arms, page);
    }
}

fn costs_and_ratings(arms: &[(&ArmId, &ArmStats)], page: &mut Page) {
    type Value = fn(&ArmStats) -> u64;
    let counters: [(&str, &str, Value); 2] = [
        (
            "ringside_experiment_arm_cost_nanousd_total",
            "What an arm's answers cost, in nano-dollars.",
            |stats| stats.cost_nanousd,
        ),
        (
            "ringside_experiment_arm_cost_unknown_total",
            "Answers of an arm whose cost is not known.",
            |stats| stats.cost_unknown,
        ),
    ];
    for (name, help, value) in counters {
        page.metric(name, "counter", help);
        for (arm, stats) in arms {
            labelled(**arm, None, |labels| {
                page.sample(name, labels, float(value(stats)));
            });
        }
    }
    let name = "ringside_experiment_arm_ratings_total";
    page.metric(name, "counter", "Ratings by applications, by arm.");
    for (arm, stats) in arms {
        for ((_, verdict), count) in ArmOutcome::ALL.into_iter().zip(stats.ratings) {
            labelled(**arm, Some(("verdict", verdict)), |labels| {
                page.sample(name, labels, float(count));
            });
        }
    }
    let name = "ringside_experiment_arm_score_mean";
    page.metric(name, "gauge", "Mean score of the ratings, from -1 to 1.");
    for (arm, stats) in arms {
        if let Some(mean) = stats.mean_score() {
            labelled(**arm, None, |labels| page.sample(name, labels, mean));
        }
    }
}

/// Hands on the labels of an arm, and one more.
pub(crate) fn labelled(
    arm: ArmId,
    more: Option<(&str, &str)>,
    write: impl FnOnce(&[(&str, &str)]),
) {
    let texts = [arm.model, arm.experiment, arm.arm].map(Name::text);
    let [model, experiment, arm] = &texts;
    let mut labels = vec![
        ("gen_ai_request_model", &**model),
        ("experiment", &**experiment),
        ("arm", &**arm),
    ];
    labels.extend(more);
    write(&labels);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_client_ended_says_nothing_and_a_failover_is_the_arms_failure() {
        let name = Name::new("arms-test");
        let arm = ArmId {
            model: name,
            experiment: name,
            arm: name,
        };
        let request = ArmRequest {
            outcome: "ok",
            was_asked: true,
            is_stream: false,
            first_byte: None,
            duration: Duration::from_millis(30),
            cost_nanousd: Some(5),
            is_cost_unknown: false,
        };
        let mut arms = Arms::default();
        arms.record(arm, &request);
        for outcome in ["client_disconnected", "failover", "status_5xx"] {
            arms.record(arm, &ArmRequest { outcome, ..request });
        }
        let cached = ArmRequest {
            outcome: "cached",
            was_asked: false,
            ..request
        };
        arms.record(arm, &cached);
        for score in [1.0, 0.5, 0.0, -1.0] {
            arms.rate(arm, score);
        }
        let mut twice = arms.clone();
        twice.merge(&arms);
        let stats = twice.get(arm).unwrap();
        assert_eq!((stats.asked, stats.bad, stats.wholes.count()), (6, 4, 2));
        assert_eq!((stats.cost_nanousd, stats.ratings), (50, [4, 2, 2]));
        assert_eq!(stats.mean_score(), Some(0.125));
    }
}
