//! Metrics of the semantic cache and of the embedding pool.

use crate::admin::metrics_page::shared_metric::{
    Sample, SharedMetrics, Sources, labelled_counter, labelled_gauge, optional_counter,
    optional_gauge,
};
use crate::cache::quality::error_rate::{QualityReport, SampleOutcome};
use crate::cache::quality::log::LINES_MAX;
use crate::cache::quality::sample_budget::IN_FLIGHT_MAX;
use crate::cache::semantic::tier::SemanticTier;
use crate::cache::semantic::wrong_answers::WRONG_ANSWERS_MAX;
use crate::embedding::pool::EmbeddingPool;
use crate::embedding::status::PoolStats;
use crate::observability::metrics::prometheus::float;

pub(crate) const METRICS: SharedMetrics = SharedMetrics {
    title: "Semantic cache",
    metrics: &[
        optional_gauge(
            "ringside_cache_scopes",
            "Scopes with at least one vector.",
            |from| Some(float(semantic(from)?.size().0 as u64)),
        ),
        optional_gauge("ringside_cache_vectors", "Vectors in all scopes.", |from| {
            Some(float(semantic(from)?.size().1 as u64))
        }),
        optional_gauge(
            "ringside_cache_wrong_answers",
            "Questions remembered because their stored answer was wrong.",
            |from| Some(float(semantic(from)?.wrong_answers().len() as u64)),
        ),
        optional_gauge(
            "ringside_cache_wrong_answers_limit",
            "Questions that may be remembered for a wrong answer.",
            |from| semantic(from).map(|_| float(WRONG_ANSWERS_MAX as u64)),
        ),
        labelled_counter(
            "ringside_cache_labels_total",
            &["gen_ai_request_model", "label"],
            "Compared semantic hits, by model and label.\n\nLabels: `right`, `wrong`, `unknown`.",
            |from| {
                Some(by_model(semantic(from)?, |report| {
                    vec![
                        ("right", float(report.right)),
                        ("wrong", float(report.wrong)),
                        ("unknown", float(report.unknown)),
                    ]
                }))
            },
        ),
        labelled_gauge(
            "ringside_cache_wrong_hit_rate",
            &["gen_ai_request_model", "bound"],
            "Wrong semantic hits as a share of compared ones at the score in force, and its interval.\n\n\
             Bounds: `estimate`, `low`, `high`.",
            |from| {
                Some(by_model(semantic(from)?, |report| {
                    let estimate = report.rate.map(|rate| ("estimate", rate));
                    let (low, high) = report.interval;
                    let mut bounds: Vec<_> = estimate.into_iter().collect();
                    bounds.extend([("low", low), ("high", high)]);
                    bounds
                }))
            },
        ),
        labelled_counter(
            "ringside_cache_samples_total",
            &["outcome"],
            "Semantic hits drawn to be compared, by outcome.\n\n\
             Outcomes: `compared`, `failed`, `over-budget`.",
            |from| {
                let quality = semantic(from)?.quality();
                let outcomes = SampleOutcome::ALL.iter();
                let samples = outcomes.map(|(sample, outcome)| Sample {
                    labels: vec![(*outcome).into()],
                    value: float(quality.samples(*sample)),
                });
                Some(samples.collect())
            },
        ),
        optional_gauge(
            "ringside_cache_sample_tokens",
            "Tokens that samples took in the last hour that had one.",
            |from| Some(float(semantic(from)?.quality().sample_budget.tokens())),
        ),
        optional_gauge(
            "ringside_cache_sample_tokens_limit",
            "Tokens that samples may take in an hour.",
            |from| {
                semantic(from)?;
                let snapshot = from.plane.shared.snapshot.load();
                Some(float(snapshot.config.cache.semantic.sample_tokens_max))
            },
        ),
        optional_gauge(
            "ringside_cache_samples_in_flight",
            "Samples in flight.",
            |from| Some(float(semantic(from)?.quality().sample_budget.in_flight())),
        ),
        optional_gauge(
            "ringside_cache_samples_in_flight_limit",
            "Samples that may be in flight at once.",
            |from| semantic(from).map(|_| float(IN_FLIGHT_MAX)),
        ),
        optional_gauge(
            "ringside_cache_observations_waiting",
            "Compared pairs that wait to be logged.\n\nThe log is `cache.semantic.log`.",
            |from| Some(float(semantic(from)?.observations().waiting() as u64)),
        ),
        optional_gauge(
            "ringside_cache_observations_limit",
            "Compared pairs that may wait.",
            |from| semantic(from).map(|_| float(LINES_MAX as u64)),
        ),
        optional_counter(
            "ringside_cache_observations_dropped_total",
            "Compared pairs that were not logged: no room, or the file could not be written.",
            |from| Some(float(semantic(from)?.observations().dropped())),
        ),
        labelled_counter(
            "ringside_cache_observed_total",
            &["outcome"],
            "Lookups in mode `observe`, by what they would have been.\n\nOutcomes: `hit`, `miss`.",
            |from| {
                let (hits, misses) = semantic(from)?.observed();
                let outcomes = [("hit", hits), ("miss", misses)];
                let samples = outcomes.map(|(outcome, count)| Sample {
                    labels: vec![outcome.into()],
                    value: float(count),
                });
                Some(samples.into())
            },
        ),
    ],
};

pub(crate) const EMBEDDING: SharedMetrics = SharedMetrics {
    title: "Embedding pool",
    metrics: &[
        optional_gauge(
            "ringside_embedding_ready",
            "1 once the embedding model is loaded.",
            |from| Some(f64::from(u8::from(pool(from)?.is_ready()))),
        ),
        optional_gauge(
            "ringside_embedding_queue",
            "Jobs that wait for the embedding model.",
            |from| Some(float(stats(from)?.queued as u64)),
        ),
        optional_gauge(
            "ringside_embedding_queue_high_water",
            "Most jobs that ever waited.",
            |from| Some(float(stats(from)?.queued_high_water as u64)),
        ),
        optional_gauge(
            "ringside_embedding_queue_limit",
            "Jobs that may wait.",
            |from| Some(float(stats(from)?.queue_max as u64)),
        ),
    ],
};

fn semantic<'p>(from: &Sources<'p>) -> Option<&'p SemanticTier> {
    from.plane.shared.semantic.as_deref()
}

fn pool<'p>(from: &Sources<'p>) -> Option<&'p EmbeddingPool> {
    from.plane.shared.embedding_pool.as_ref()
}

fn stats(from: &Sources<'_>) -> Option<PoolStats> {
    pool(from).map(EmbeddingPool::stats)
}

fn by_model(
    semantic: &SemanticTier,
    values: fn(&QualityReport) -> Vec<(&'static str, f64)>,
) -> Vec<Sample> {
    let mut samples = Vec::new();
    for report in semantic.quality().reports() {
        for (label, value) in values(&report) {
            samples.push(Sample {
                labels: vec![report.model.text().to_string(), label.into()],
                value,
            });
        }
    }
    samples
}
