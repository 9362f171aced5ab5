//! Experiments on the admin side: what each arm did, which canary was rolled back, and giving it its share
//! again.

use crate::admin::metrics_page::experiments::arm_share;
use crate::admin::routes::{AdminResponse, error, json_answer};
use crate::control::log;
use crate::control::plane::Plane;
use crate::gateway::experiments::arms::ExperimentRoute;
use crate::observability::metrics::arms::ArmMetrics;
use crate::observability::metrics::group::GroupBy;
use crate::observability::metrics::histogram::Histogram;
use crate::observability::metrics::labels::LabelEnum;
use crate::observability::metrics::prometheus::float;
use crate::routing::canary::Count;
use crate::routing::indices::ArmIndex;
use hyper::StatusCode;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// `GET /experiments`
pub(crate) async fn tell(plane: &Plane) -> AdminResponse {
    let (core, _) = plane.core_metrics().await;
    let snapshot = plane.shared.snapshot.load();
    let models = snapshot.model_names.iter();
    let told = models.filter_map(|name| {
        let experiment = snapshot.models.get(name)?.experiment.as_ref()?;
        let arms = (0..experiment.arms.len()).map(|at| arm(experiment, at, &core.arms));
        Some(json!({
            "model": name,
            "experiment": experiment.name.text().to_string(),
            "arms": arms.collect::<Vec<_>>(),
        }))
    });
    let told: Vec<_> = told.collect();
    json_answer(StatusCode::OK, &json!({ "experiments": told }))
}

/// `POST /experiments/reset`: of all models, or `?model=NAME`.
pub(crate) fn reset(plane: &Plane, query: Option<&str>) -> AdminResponse {
    let named = match query.unwrap_or_default() {
        "" => None,
        query => match query
            .strip_prefix("model=")
            .map(crate::http::percent::unescaped)
        {
            Some(Some(name)) => Some(name),
            _ => {
                let what = "the only parameter is `model`, percent-encoded";
                return error(StatusCode::BAD_REQUEST, "invalid_query", what);
            }
        },
    };
    let snapshot = plane.shared.snapshot.load();
    let meant = |name: &&String| named.as_ref().is_none_or(|named| named == *name);
    let names = snapshot.model_names.iter().filter(meant);
    let found = names.filter_map(|name| snapshot.models.get(name)?.experiment.as_ref());
    let found: Vec<_> = found.collect();
    if found.is_empty() {
        let what = "no such model has an experiment";
        return error(StatusCode::NOT_FOUND, "no_experiment", what);
    }
    let restored: usize = found.iter().map(|one| one.rollbacks.reset()).sum();
    let told = json!({ "model": named, "restored": restored });
    log::event("experiments_reset", &told);
    json_answer(StatusCode::OK, &json!({ "restored": restored }))
}

fn arm(experiment: &ExperimentRoute, index: usize, arms: &GroupBy<ArmMetrics>) -> Value {
    let Some(arm) = experiment.arms.get(index) else {
        return Value::Null;
    };
    let none = ArmMetrics::default();
    let metrics = arms.get(arm.id).unwrap_or(&none);
    let count = |count: Count| json!({ "bad": count.bad, "all": count.all });
    let rollback = experiment
        .rollbacks
        .of(ArmIndex::new(index))
        .map(|rollback| {
            json!({
                "reason": rollback.why.name(),
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
        "asked": metrics.attempted.get(),
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
