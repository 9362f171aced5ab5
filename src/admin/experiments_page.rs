//! Experiments on the admin side: what each arm did, which canary was rolled back, and giving it its share
//! again.

use crate::admin::metrics_page::page::gauge;
use crate::admin::routes::{AdminResponse, error, json_answer};
use crate::control::log;
use crate::control::plane::Plane;
use crate::gateway::experiments::arms::ExperimentRoute;
use crate::observability::metrics::arms::{ArmOutcome, ArmStats, Arms, labelled};
use crate::observability::metrics::histogram::Histogram;
use crate::observability::metrics::prometheus::Page;
use crate::observability::rateable_requests::RATEABLE_MAX;
use crate::routing::canary::Count;
use hyper::StatusCode;
use serde_json::{Value, json};

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

/// The share of an arm's weight among those that take requests.
fn share(experiment: &ExperimentRoute, at: usize) -> f64 {
    let weight = |at: usize| {
        let is_off = experiment.rollbacks.is_off(at);
        let arm = experiment.shares.get(at).filter(|_| !is_off);
        arm.map_or(0.0, |arm| f64::from(arm.weight))
    };
    let all: f64 = (0..experiment.shares.len()).map(weight).sum();
    if all > 0.0 { weight(at) / all } else { 0.0 }
}

fn arm(experiment: &ExperimentRoute, at: usize, arms: &Arms) -> Value {
    let Some(arm) = experiment.arms.get(at) else {
        return Value::Null;
    };
    let none = ArmStats::default();
    let stats = arms.get(arm.id).unwrap_or(&none);
    let count = |count: Count| json!({ "bad": count.bad, "all": count.all });
    let rollback = experiment.rollbacks.of(at).map(|one| {
        json!({
            "reason": one.why.name(),
            "since_ms": u64::try_from(one.since.as_millis()).unwrap_or(u64::MAX),
            "baseline": count(one.baseline),
            "canary": count(one.canary),
        })
    });
    let ratings = ArmOutcome::ALL.iter().zip(stats.ratings);
    let ratings = ratings.map(|((_, name), count)| ((*name).to_owned(), count.into()));
    json!({
        "arm": arm.id.arm.text().to_string(),
        "canary": arm.is_canary,
        "share": share(experiment, at),
        "rolled_back": rollback,
        "requests": stats.outcomes.values().sum::<u64>(),
        "outcomes": stats.outcomes,
        "asked": stats.asked,
        "bad": stats.bad,
        "first_token_s": quantiles(&stats.first_token),
        "stream_s": quantiles(&stats.streams),
        "whole_s": quantiles(&stats.wholes),
        "cost_nanousd": stats.cost_nanousd,
        "cost_unknown": stats.cost_unknown,
        "ratings": ratings.collect::<serde_json::Map<_, _>>(),
        "score_mean": stats.mean_score(),
    })
}

/// Upper bounds of the buckets that median and p99 are in; null without values, or beyond the last bound.
fn quantiles(histogram: &Histogram) -> Value {
    #[allow(clippy::cast_precision_loss)]
    let all = histogram.count() as f64;
    let bound = |quantile: f64| {
        #[allow(clippy::cast_precision_loss)]
        let reached = |(_, count): &(f64, u64)| all > 0.0 && *count as f64 >= quantile * all;
        histogram.cumulative().find(reached).map(|(bound, _)| bound)
    };
    json!({ "count": histogram.count(), "p50_max": bound(0.5), "p99_max": bound(0.99) })
}

/// Shares, roll-backs and what may be rated, on the metrics page; nothing without an experiment.
pub(crate) fn write(plane: &Plane, page: &mut Page) {
    let snapshot = plane.shared.snapshot.load();
    let names = snapshot.model_names.iter();
    let experiments = names.filter_map(|name| snapshot.models.get(name)?.experiment.as_ref());
    let experiments: Vec<_> = experiments.collect();
    if experiments.is_empty() {
        return;
    }
    type Value = fn(&ExperimentRoute, usize) -> f64;
    let gauges: [(&str, &str, Value); 2] = [
        (
            "ringside_experiment_arm_share",
            "Share of the experiment's requests that an arm takes now.",
            share,
        ),
        (
            "ringside_experiment_arm_rolled_back",
            "1 for a canary that was rolled back.",
            |experiment, at| f64::from(u8::from(experiment.rollbacks.is_off(at))),
        ),
    ];
    for (name, help, value) in gauges {
        page.metric(name, "gauge", help);
        for experiment in &experiments {
            for (at, arm) in experiment.arms.iter().enumerate() {
                let value = value(experiment, at);
                labelled(arm.id, None, |labels| page.sample(name, labels, value));
            }
        }
    }
    gauge(
        page,
        "ringside_feedback_window_requests",
        "Requests that may be rated.",
        plane.shared.ratings.len() as u64,
    );
    gauge(
        page,
        "ringside_feedback_window_requests_limit",
        "Requests that may be rated at most; the oldest is forgotten.",
        RATEABLE_MAX as u64,
    );
}
