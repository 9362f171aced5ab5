//! The part of `/metrics` that tells what mirrored traffic took and came to.

use crate::admin::metrics_page::page::gauge;
use crate::cache::quality::sample_budget::OPEN_MAX;
use crate::control::plane::Plane;
use crate::gateway::experiments::mirroring::{LABELS, MirrorOutcome, MirrorTarget};
use crate::observability::metrics::prometheus::{Page, float};

/// Writes it; nothing where no model has mirrors.
pub(crate) fn write(plane: &Plane, page: &mut Page) {
    let snapshot = plane.shared.snapshot.load();
    let names = snapshot.model_names.iter();
    let routes = names.filter_map(|name| Some((name, snapshot.models.get(name)?.mirror.as_ref()?)));
    let routes: Vec<(&String, &MirrorTarget)> = routes.collect();
    if routes.is_empty() {
        return;
    }
    const MODEL: &str = "gen_ai_request_model";
    let name = "ringside_mirror_requests_total";
    let help = "Requests drawn for mirrored traffic, by what became of them.";
    page.metric(name, "counter", help);
    for (model, route) in &routes {
        for (outcome, value) in MirrorOutcome::ALL {
            let labels = [(MODEL, model.as_str()), ("outcome", value)];
            page.sample(name, &labels, float(route.stats.outcomes(outcome)));
        }
    }
    let name = "ringside_mirror_labels_total";
    let help = "Compared answers, by whether the mirror's says the same.";
    page.metric(name, "counter", help);
    for (model, route) in &routes {
        for ((_, label), count) in LABELS.into_iter().zip(route.stats.labels()) {
            let labels = [(MODEL, model.as_str()), ("label", label)];
            page.sample(name, &labels, float(count));
        }
    }
    type Value = fn(&MirrorTarget) -> u64;
    let gauges: [(&str, &str, Value); 3] = [
        (
            "ringside_mirror_requests_in_flight",
            "Mirrors under way.",
            |route| route.stats.sample_budget.open(),
        ),
        (
            "ringside_mirror_tokens",
            "Tokens that mirrors took in the last hour that had one.",
            |route| route.stats.sample_budget.tokens(),
        ),
        (
            "ringside_mirror_tokens_limit",
            "Tokens that mirrors may take in an hour.",
            |route| route.tokens_max,
        ),
    ];
    for (name, help, value) in gauges {
        page.metric(name, "gauge", help);
        for (model, route) in &routes {
            page.sample(name, &[(MODEL, model.as_str())], float(value(route)));
        }
    }
    let name = "ringside_mirror_requests_in_flight_limit";
    gauge(
        page,
        name,
        "Mirrors that may be under way, of each model.",
        OPEN_MAX,
    );
}
