//! The part of `/metrics` that tells what was learned of hits by meaning.

use crate::admin::metrics_page::page::gauge;
use crate::cache::quality::error_rate::{QualityReport, Sample};
use crate::cache::quality::log::LINES_MAX;
use crate::cache::quality::sample_budget::OPEN_MAX;
use crate::cache::semantic::Semantic;
use crate::control::plane::Plane;
use crate::observability::metrics::prometheus::{Page, float};

/// Writes it.
pub(crate) fn write(plane: &Plane, semantic: &Semantic, page: &mut Page) {
    let views = semantic.quality().views();
    labels(&views, page);
    rates(&views, page);
    samples(plane, semantic, page);
}

fn labels(views: &[QualityReport], page: &mut Page) {
    let name = "ringside_cache_labels_total";
    page.metric(
        name,
        "counter",
        "Compared hits by meaning, by model and label.",
    );
    for view in views {
        let model = view.model.text();
        for (label, count) in [
            ("right", view.right),
            ("wrong", view.wrong),
            ("unknown", view.unknown),
        ] {
            let labels = [("gen_ai_request_model", &*model), ("label", label)];
            page.sample(name, &labels, float(count));
        }
    }
}

fn rates(views: &[QualityReport], page: &mut Page) {
    let name = "ringside_cache_wrong_hit_rate";
    page.metric(
        name,
        "gauge",
        "Wrong hits by meaning as a share of compared ones at the score in force, and its interval.",
    );
    for view in views {
        let model = view.model.text();
        for (bound, value) in [
            ("estimate", view.rate),
            ("low", Some(view.interval.0)),
            ("high", Some(view.interval.1)),
        ] {
            if let Some(value) = value {
                let labels = [("gen_ai_request_model", &*model), ("bound", bound)];
                page.sample(name, &labels, value);
            }
        }
    }
}

fn samples(plane: &Plane, semantic: &Semantic, page: &mut Page) {
    let (quality, observations) = (semantic.quality(), semantic.observations());
    let name = "ringside_cache_samples_total";
    page.metric(
        name,
        "counter",
        "Hits by meaning drawn to be compared, by what became of them.",
    );
    for (sample, outcome) in Sample::ALL {
        let count = float(quality.samples(sample));
        page.sample(name, &[("outcome", outcome)], count);
    }
    let snapshot = plane.shared.snapshot.load();
    let tokens_max = snapshot.config.cache.semantic.sample_tokens_max;
    for (name, help, value) in [
        (
            "ringside_cache_sample_tokens",
            "Tokens that samples took in the last hour that had one.",
            quality.sample_budget.tokens(),
        ),
        (
            "ringside_cache_sample_tokens_limit",
            "Tokens that samples may take in an hour.",
            tokens_max,
        ),
        (
            "ringside_cache_samples_in_flight",
            "Samples under way.",
            quality.sample_budget.open(),
        ),
        (
            "ringside_cache_samples_in_flight_limit",
            "Samples that may be under way at once.",
            OPEN_MAX,
        ),
        (
            "ringside_cache_observations_waiting",
            "Compared pairs that wait to be logged.",
            observations.waiting() as u64,
        ),
        (
            "ringside_cache_observations_limit",
            "Compared pairs that may wait.",
            LINES_MAX as u64,
        ),
    ] {
        gauge(page, name, help, value);
    }
    page.single(
        "ringside_cache_observations_dropped_total",
        "counter",
        "Compared pairs that were not logged: no room, or the file could not be written.",
        float(observations.dropped()),
    );
}
