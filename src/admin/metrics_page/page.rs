//! The text of `/metrics`: what the cores counted, and what is read from shared state.

use crate::admin::metrics_page::shared_metric::{SharedMetrics, Sources};
use crate::admin::metrics_page::{cache, experiments, process, semantic};
use crate::control::gather::core_metrics;
use crate::control::plane::Plane;
use crate::observability::metrics::prometheus::Exposition;

/// Metrics before those of the cores.
pub(crate) const FIRST: &[SharedMetrics] = &[process::METRICS];

/// Metrics after those of the cores.
pub(crate) const LAST: &[SharedMetrics] = &[
    process::CREDENTIALS,
    process::LIMITS,
    cache::METRICS,
    cache::COALESCING,
    cache::DISK,
    semantic::METRICS,
    semantic::EMBEDDING,
    experiments::EXPERIMENTS,
    experiments::MIRRORS,
];

pub(crate) async fn page(plane: &Plane) -> String {
    let core = core_metrics(&plane.cores).await;
    let from = Sources {
        plane,
        cores_reporting: core.cores_reporting,
    };
    let mut page = Exposition::default();
    FIRST.iter().for_each(|area| area.write(&from, &mut page));
    core.sum.write(&mut page);
    LAST.iter().for_each(|area| area.write(&from, &mut page));
    page.into_text()
}
