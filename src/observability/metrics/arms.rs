//! Metrics of the arms of experiments.

use crate::base::names::Name;
use crate::error::code::ErrorCode;
use crate::observability::metrics::counters::{Counter, CounterBy, CounterOf};
use crate::observability::metrics::gauges::MeanGauge;
use crate::observability::metrics::group::metric_group;
use crate::observability::metrics::histogram::DurationSeconds;
use crate::observability::metrics::histograms::{HistogramOf, SingleHistogram};
use crate::observability::metrics::labels::{LabelEnum, LabelKey};
use std::time::Duration;

/// An arm of a model's experiment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ArmId {
    /// The requested model.
    pub model: Name,
    /// The experiment.
    pub experiment: Name,
    /// The arm.
    pub arm: Name,
}

impl LabelKey for ArmId {
    const COUNT: usize = 3;

    fn push_values(&self, values: &mut Vec<String>) {
        self.model.push_values(values);
        self.experiment.push_values(values);
        self.arm.push_values(values);
    }

    #[cfg(test)]
    fn example(number: u64) -> Self {
        Self {
            model: Name::example(number),
            experiment: Name::example(number / 3),
            arm: Name::example(number / 9),
        }
    }
}

/// How one request of an arm ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum ArmResult {
    /// A target of the arm responded well.
    Ok,
    /// The cache had the response.
    Cached,
    /// Another arm's target responded.
    Failover,
    /// The provider responded with status 429.
    RateLimited,
    /// The provider responded with another status of 4xx.
    ClientError,
    /// The provider responded with a status of 5xx.
    ServerError,
    /// The gateway responded with this error.
    Failed(ErrorCode),
    /// The client or the process ended it, with this error. It does not count as a failure of the arm.
    Interrupted(ErrorCode),
}

impl ArmResult {
    /// Value of the label `outcome`.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Cached => "cached",
            Self::Failover => "failover",
            Self::RateLimited => "status_429",
            Self::ClientError => "status_4xx",
            Self::ServerError => "status_5xx",
            Self::Failed(code) | Self::Interrupted(code) => code.as_str(),
        }
    }
}

impl LabelKey for ArmResult {
    const COUNT: usize = 1;

    fn push_values(&self, values: &mut Vec<String>) {
        values.push(self.as_str().to_owned());
    }

    #[cfg(test)]
    fn example(number: u64) -> Self {
        [Self::Ok, Self::Cached, Self::Failover][(number % 3) as usize]
    }
}

/// One request of an arm.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ArmRequest {
    /// How it ended.
    pub result: ArmResult,
    /// An upstream attempt was made, or failed to be made.
    pub was_attempted: bool,
    /// The response was streamed.
    pub is_stream: bool,
    /// From the request sent upstream to its first byte.
    pub first_byte: Option<Duration>,
    /// From the request's arrival to the end of its response.
    pub duration: Duration,
    /// Its cost in nano-dollars; `None` when nothing was billed, or the cost is not known.
    pub cost_nanousd: Option<u64>,
    /// The provider was used, but the cost is not known.
    pub is_cost_unknown: bool,
}

/// An application's rating of a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum RatingVerdict {
    /// A score above 0.
    Good,
    /// 0.
    Neutral,
    /// Below 0.
    Bad,
}

impl LabelEnum for RatingVerdict {
    const ALL: &'static [Self] = &[Self::Good, Self::Neutral, Self::Bad];

    fn as_str(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Neutral => "neutral",
            Self::Bad => "bad",
        }
    }
}

impl RatingVerdict {
    fn of(score: f64) -> Self {
        match score {
            score if score > 0.0 => Self::Good,
            score if score < 0.0 => Self::Bad,
            _ => Self::Neutral,
        }
    }
}

metric_group! {
    /// Arms of experiments
    pub(crate) struct ArmMetrics by ArmId {
        /// Requests of an arm, by outcome.
        ///
        /// Outcomes: `ok`, `cached`, `failover`, or what they failed with.
        requests: CounterBy<ArmResult> = "ringside_experiment_arm_requests_total" ["gen_ai_request_model", "experiment", "arm", "outcome"];
        /// From a streamed request sent upstream to its first byte, by arm.
        time_to_first_token_seconds: SingleHistogram<DurationSeconds> = "ringside_experiment_arm_time_to_first_token_seconds" ["gen_ai_request_model", "experiment", "arm"];
        /// From a request's arrival to the end of a good response, by arm and whether it was streamed.
        duration_seconds: HistogramOf<bool, DurationSeconds> = "ringside_experiment_arm_duration_seconds" ["gen_ai_request_model", "experiment", "arm", "stream"];
        /// What an arm's responses cost, in nano-dollars.
        cost_nanousd: Counter = "ringside_experiment_arm_cost_nanousd_total" ["gen_ai_request_model", "experiment", "arm"];
        /// Responses of an arm whose cost is not known.
        cost_unknown: Counter = "ringside_experiment_arm_cost_unknown_total" ["gen_ai_request_model", "experiment", "arm"];
        /// Ratings by applications, by arm.
        ///
        /// Verdicts: `good`, `neutral`, `bad`.
        ratings: CounterOf<RatingVerdict> = "ringside_experiment_arm_ratings_total" ["gen_ai_request_model", "experiment", "arm", "verdict"];
        /// Mean score of the ratings, from -1 to 1.
        score_mean: MeanGauge = "ringside_experiment_arm_score_mean" ["gen_ai_request_model", "experiment", "arm"];
        unexposed {
            /// Requests that show how well the arm's targets work: an attempt was made and not interrupted.
            attempted: Counter;
            /// Those of them that got no good response from the arm's targets.
            bad: Counter;
        }
    }
}

impl ArmMetrics {
    /// Counts a request.
    pub(crate) fn record(&mut self, request: &ArmRequest) {
        self.requests.increment(request.result);
        self.cost_nanousd.add(request.cost_nanousd.unwrap_or(0));
        self.cost_unknown.add(u64::from(request.is_cost_unknown));
        if !request.was_attempted || matches!(request.result, ArmResult::Interrupted(_)) {
            return;
        }
        self.attempted.increment();
        if request.result != ArmResult::Ok {
            self.bad.increment();
            return;
        }
        let seconds = request.duration.as_secs_f64();
        self.duration_seconds.record(request.is_stream, seconds);
        if let Some(first_byte) = request.first_byte.filter(|_| request.is_stream) {
            self.time_to_first_token_seconds
                .record(first_byte.as_secs_f64());
        }
    }

    /// Counts a rating, from -1 to 1.
    pub(crate) fn rate(&mut self, score: f64) {
        self.ratings.increment(RatingVerdict::of(score));
        self.score_mean.record(score);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observability::metrics::group::MetricGroup;

    #[test]
    fn an_interrupted_request_does_not_count_and_a_failover_is_the_arms_failure() {
        let request = ArmRequest {
            result: ArmResult::Ok,
            was_attempted: true,
            is_stream: false,
            first_byte: None,
            duration: Duration::from_millis(30),
            cost_nanousd: Some(5),
            is_cost_unknown: false,
        };
        let mut arm = ArmMetrics::default();
        arm.record(&request);
        for result in [
            ArmResult::Interrupted(ErrorCode::ClientDisconnected),
            ArmResult::Failover,
            ArmResult::ServerError,
        ] {
            arm.record(&ArmRequest { result, ..request });
        }
        arm.record(&ArmRequest {
            result: ArmResult::Cached,
            was_attempted: false,
            cost_nanousd: Some(5),
            ..request
        });
        for score in [1.0, 0.5, 0.0, -1.0] {
            arm.rate(score);
        }
        let mut twice = arm.clone();
        twice.merge(&arm);
        assert_eq!((twice.attempted.get(), twice.bad.get()), (6, 4));
        let whole = twice.duration_seconds.get(false).unwrap();
        assert_eq!((whole.count(), twice.cost_nanousd.get()), (2, 50));
        let ratings: Vec<u64> = twice.ratings.iter().map(|(_, count)| count).collect();
        assert_eq!(ratings, [4, 2, 2]);
        assert_eq!(twice.score_mean.mean(), Some(0.125));
    }
}
