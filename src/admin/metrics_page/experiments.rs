//! Metrics of experiments and of mirrored requests that are read from shared state.

use crate::admin::metrics_page::shared_metric::{
    Sample, SharedMetrics, Sources, labelled_counter, labelled_gauge, optional_gauge,
};
use crate::cache::quality::sample_budget::IN_FLIGHT_MAX;
use crate::gateway::snapshot::experiment::ExperimentRoute;
use crate::gateway::snapshot::mirror::{LABELS, MirrorOutcome, MirrorTarget};
use crate::observability::metrics::labels::LabelKey;
use crate::observability::metrics::prometheus::float;
use crate::observability::rateable_requests::RATEABLE_MAX;
use crate::routing::indices::ArmIndex;

pub(crate) const EXPERIMENTS: SharedMetrics = SharedMetrics {
    title: "Experiments",
    metrics: &[
        labelled_gauge(
            "ringside_experiment_arm_share",
            &["gen_ai_request_model", "experiment", "arm"],
            "Share of the experiment's requests that an arm takes now.",
            |from| by_arm(from, arm_share),
        ),
        labelled_gauge(
            "ringside_experiment_arm_rolled_back",
            &["gen_ai_request_model", "experiment", "arm"],
            "1 for a canary that was rolled back.",
            |from| {
                by_arm(from, |experiment, arm| {
                    f64::from(u8::from(experiment.rollbacks.is_off(arm)))
                })
            },
        ),
        optional_gauge(
            "ringside_feedback_window_requests",
            "Requests that may be rated.",
            |from| has_experiments(from).then(|| float(from.plane.shared.ratings.len() as u64)),
        ),
        optional_gauge(
            "ringside_feedback_window_requests_limit",
            "Requests that may be rated at most; the oldest is forgotten.",
            |from| has_experiments(from).then(|| float(RATEABLE_MAX as u64)),
        ),
    ],
};

pub(crate) const MIRRORS: SharedMetrics = SharedMetrics {
    title: "Mirrored requests, drawn and in flight",
    metrics: &[
        labelled_counter(
            "ringside_mirror_requests_total",
            &["gen_ai_request_model", "outcome"],
            "Requests drawn for mirroring, by outcome.\n\n\
             Outcomes: `answered`, `failed`, `not-comparable`, `over-budget`, `busy`.",
            |from| {
                by_mirror(from, |mirror| {
                    let outcomes = MirrorOutcome::ALL.into_iter();
                    outcomes
                        .map(|(outcome, name)| (name, mirror.stats.outcomes(outcome)))
                        .collect()
                })
            },
        ),
        labelled_counter(
            "ringside_mirror_labels_total",
            &["gen_ai_request_model", "label"],
            "Compared responses, by whether the mirror's says the same.\n\n\
             Labels: `same`, `other`, `unknown`.",
            |from| {
                by_mirror(from, |mirror| {
                    let labels = LABELS.into_iter().zip(mirror.stats.labels());
                    labels.map(|((_, label), count)| (label, count)).collect()
                })
            },
        ),
        labelled_gauge(
            "ringside_mirror_requests_in_flight",
            &["gen_ai_request_model"],
            "Mirrored requests in flight.",
            |from| of_mirror(from, |mirror| mirror.stats.sample_budget.in_flight()),
        ),
        labelled_gauge(
            "ringside_mirror_tokens",
            &["gen_ai_request_model"],
            "Tokens that mirrored requests took in the last hour that had one.",
            |from| of_mirror(from, |mirror| mirror.stats.sample_budget.tokens()),
        ),
        labelled_gauge(
            "ringside_mirror_tokens_limit",
            &["gen_ai_request_model"],
            "Tokens that mirrored requests may take in an hour.",
            |from| of_mirror(from, |mirror| mirror.tokens_max),
        ),
        optional_gauge(
            "ringside_mirror_requests_in_flight_limit",
            "Mirrored requests that may be in flight, of each model.",
            |from| of_mirror(from, |_| 0).map(|_| float(IN_FLIGHT_MAX)),
        ),
    ],
};

/// The share of an arm's weight in the weights of all arms that get requests.
pub(crate) fn arm_share(experiment: &ExperimentRoute, arm: ArmIndex) -> f64 {
    let weight = |arm: ArmIndex| {
        let is_off = experiment.rollbacks.is_off(arm);
        let share = experiment.shares.get(arm.get()).filter(|_| !is_off);
        share.map_or(0.0, |share| f64::from(share.weight))
    };
    let all: f64 = (0..experiment.shares.len())
        .map(|arm| weight(ArmIndex::new(arm)))
        .sum();
    if all > 0.0 { weight(arm) / all } else { 0.0 }
}

fn has_experiments(from: &Sources<'_>) -> bool {
    let snapshot = from.plane.shared.snapshot.load();
    let mut models = snapshot.models.values();
    models.any(|model| model.experiment.is_some())
}

/// A value of each arm; `None` without an experiment.
fn by_arm(from: &Sources<'_>, value: fn(&ExperimentRoute, ArmIndex) -> f64) -> Option<Vec<Sample>> {
    let snapshot = from.plane.shared.snapshot.load();
    let names = snapshot.model_names.iter();
    let experiments = names.filter_map(|name| snapshot.models.get(name)?.experiment.as_ref());
    let mut samples = Vec::new();
    for experiment in experiments {
        for (index, arm) in experiment.arms.iter().enumerate() {
            let mut labels = Vec::new();
            arm.id.push_values(&mut labels);
            samples.push(Sample {
                labels,
                value: value(experiment, ArmIndex::new(index)),
            });
        }
    }
    (!samples.is_empty()).then_some(samples)
}

/// A value of each model that has a mirror; `None` without one.
fn of_mirror(from: &Sources<'_>, value: fn(&MirrorTarget) -> u64) -> Option<Vec<Sample>> {
    let snapshot = from.plane.shared.snapshot.load();
    let names = snapshot.model_names.iter();
    let mirrors = names.filter_map(|name| {
        let mirror = snapshot.models.get(name)?.mirror.as_ref()?;
        Some(Sample {
            labels: vec![name.clone()],
            value: float(value(mirror)),
        })
    });
    let samples: Vec<_> = mirrors.collect();
    (!samples.is_empty()).then_some(samples)
}

/// Values of each model that has a mirror, by one more label; `None` without a mirror.
fn by_mirror(
    from: &Sources<'_>,
    values: fn(&MirrorTarget) -> Vec<(&'static str, u64)>,
) -> Option<Vec<Sample>> {
    let snapshot = from.plane.shared.snapshot.load();
    let mut samples = Vec::new();
    for name in &snapshot.model_names {
        let model = snapshot.models.get(name);
        let mirror = model.and_then(|model| model.mirror.as_ref());
        for (label, count) in mirror.map(values).unwrap_or_default() {
            samples.push(Sample {
                labels: vec![name.clone(), label.into()],
                value: float(count),
            });
        }
    }
    (!samples.is_empty()).then_some(samples)
}
