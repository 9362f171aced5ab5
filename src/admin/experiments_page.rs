//! Experiments in the admin API: the numbers of each arm, why a canary was rolled back, and the reset of a rollback.

use crate::admin::metrics_page::experiments::arm_share;
use crate::admin::query::Query;
use crate::admin::response::{AdminResponse, error, ok};
use crate::control::gather::core_metrics;
use crate::control::log;
use crate::control::plane::Plane;
use crate::error::code::ErrorCode;
use crate::gateway::snapshot::experiment::ExperimentRoute;
use crate::observability::metrics::arms::ArmMetrics;
use crate::observability::metrics::group::GroupBy;
use crate::observability::metrics::histogram::Histogram;
use crate::observability::metrics::labels::LabelEnum;
use crate::observability::metrics::prometheus::float;
use crate::routing::canary::Count;
use crate::routing::indices::ArmIndex;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// All experiments with their arms.
pub(crate) async fn experiments(plane: &Plane) -> AdminResponse {
    let core = core_metrics(&plane.cores).await.sum;
    let snapshot = plane.shared.snapshot.load();
    let names = snapshot.model_names.iter();
    let experiments = names.filter_map(|name| {
        let experiment = snapshot.models.get(name)?.experiment.as_ref()?;
        let arms = 0..experiment.arms.len();
        let arms = arms.map(|index| arm(experiment, ArmIndex::new(index), &core.arms));
        Some(json!({
            "model": name,
            "experiment": experiment.name.text().to_string(),
            "arms": arms.collect::<Vec<_>>(),
        }))
    });
    let experiments: Vec<_> = experiments.collect();
    ok(&json!({ "experiments": experiments }))
}

/// Ends the rollbacks of one model, or of all models: their canaries get their share again.
pub(crate) fn reset(plane: &Plane, query: &Query) -> AdminResponse {
    let model = query.get("model");
    let snapshot = plane.shared.snapshot.load();
    let is_meant = |name: &&String| model.is_none_or(|model| model == *name);
    let names = snapshot.model_names.iter().filter(is_meant);
    let experiments = names.filter_map(|name| snapshot.models.get(name)?.experiment.as_ref());
    let experiments: Vec<_> = experiments.collect();
    if experiments.is_empty() {
        let message = "no such model has an experiment";
        return error(ErrorCode::NoExperiment, message);
    }
    let resets = experiments.iter();
    let restored: usize = resets.map(|experiment| experiment.rollbacks.reset()).sum();
    let facts = json!({ "model": model, "restored": restored });
    log::event("experiments_reset", &facts);
    ok(&json!({ "restored": restored }))
}

fn arm(experiment: &ExperimentRoute, index: ArmIndex, arms: &GroupBy<ArmMetrics>) -> Value {
    let Some(arm) = experiment.arms.get(index.get()) else {
        return Value::Null;
    };
    let none = ArmMetrics::default();
    let metrics = arms.get(arm.id).unwrap_or(&none);
    let count = |count: Count| json!({ "bad": count.bad, "all": count.all });
    let rollback = experiment.rollbacks.of(index).map(|rollback| {
        json!({
            "reason": rollback.reason.as_str(),
            "since_ms": u64::try_from(rollback.since.as_millis()).unwrap_or(u64::MAX),
            "baseline": count(rollback.baseline),
            "canary": count(rollback.canary),
        })
    });
    let ratings = metrics.ratings.iter();
    let ratings = ratings.map(|(verdict, count)| (verdict.as_str().to_owned(), count.into()));
    let outcomes = metrics.requests.iter();
    let outcomes: BTreeMap<_, _> = outcomes
        .map(|(result, count)| (result.as_str(), count))
        .collect();
    let duration = &metrics.duration_seconds;
    json!({
        "arm": arm.id.arm.text().to_string(),
        "canary": arm.is_canary,
        "share": arm_share(experiment, index),
        "rolled_back": rollback,
        "requests": outcomes.values().sum::<u64>(),
        "outcomes": outcomes,
        "attempted": metrics.attempted.get(),
        "bad": metrics.bad.get(),
        "first_token_s": quantiles(Some(metrics.time_to_first_token_seconds.get())),
        "stream_s": quantiles(duration.get(true)),
        "whole_s": quantiles(duration.get(false)),
        "cost_nanousd": metrics.cost_nanousd.get(),
        "cost_unknown": metrics.cost_unknown.get(),
        "ratings": ratings.collect::<serde_json::Map<_, _>>(),
        "score_mean": metrics.score_mean.mean(),
    })
}

/// Upper bounds of the buckets that median and p99 are in; null without values, or beyond the last bound.
fn quantiles(histogram: Option<&Histogram>) -> Value {
    let Some(histogram) = histogram else {
        return Value::Null;
    };
    let all = float(histogram.count());
    let bound = |quantile: f64| {
        let reached = |(_, count): &(f64, u64)| all > 0.0 && float(*count) >= quantile * all;
        histogram.cumulative().find(reached).map(|(bound, _)| bound)
    };
    json!({ "count": histogram.count(), "p50_max": bound(0.5), "p99_max": bound(0.99) })
}
