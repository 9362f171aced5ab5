//! Monitors canaries: once a second it gathers the metrics of their arms from all cores, and rolls a canary back when
//! the test shows that it does worse than its baseline. An operator gives the share back.

use crate::control::core_message::CoreMessage;
use crate::control::gather::{REPLY_WITHIN, gather};
use crate::control::log;
use crate::control::plane::Plane;
use crate::gateway::snapshot::experiment::{ExperimentRoute, Rollback};
use crate::observability::metrics::arms::{ArmId, ArmMetrics};
use crate::observability::metrics::group::{GroupBy, MetricGroup};
use crate::observability::metrics::histogram::Histogram;
use crate::routing::canary::{CanaryTest, Count, Samples, Totals};
use crate::routing::indices::ArmIndex;
use crate::runtime::clock;
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// How often canaries are judged.
pub(crate) const EVERY: Duration = Duration::from_secs(1);

/// A canary, and how often its experiment was reset: each reset begins a new test.
type CanaryRun = (ArmId, u32);

/// The running tests. They stay on the control plane's thread.
#[derive(Clone, Default)]
pub(crate) struct CanaryMonitor(Rc<RefCell<HashMap<CanaryRun, CanaryTest>>>);

/// Judges all canaries once.
pub(crate) async fn judge_all(plane: Arc<Plane>, monitor: CanaryMonitor) {
    let snapshot = plane.shared.snapshot.load_full();
    let experiments = || {
        snapshot
            .models
            .values()
            .filter_map(|model| model.experiment.as_ref())
    };
    if !experiments().any(|experiment| experiment.arms.iter().any(|arm| arm.is_canary)) {
        monitor.0.borrow_mut().clear();
        return;
    }
    // Without the requests of one core, counts would seem to go back.
    let Some(arms) = gather_arms(&plane).await else {
        return;
    };
    let mut tests = monitor.0.borrow_mut();
    let mut current = Vec::new();
    for experiment in experiments() {
        let resets = experiment.rollbacks.resets();
        let canaries = experiment.arms.iter().enumerate();
        for (index, arm) in canaries.filter(|(_, arm)| arm.is_canary) {
            let run = (arm.id, resets);
            current.push(run);
            let index = ArmIndex::new(index);
            if !experiment.rollbacks.is_off(index) {
                let test = tests.entry(run).or_default();
                judge(experiment, index, test, &arms);
            }
        }
    }
    tests.retain(|run, _| current.contains(run));
}

/// Rolls a canary back if its test shows that it does worse.
fn judge(
    experiment: &ExperimentRoute,
    index: ArmIndex,
    test: &mut CanaryTest,
    arms: &GroupBy<ArmMetrics>,
) {
    let Some(id) = experiment.arms.get(index.get()).map(|arm| arm.id) else {
        return;
    };
    let mut baseline = ArmMetrics::default();
    for other in experiment.arms.iter().filter(|arm| !arm.is_canary) {
        if let Some(stats) = arms.get(other.id) {
            baseline.merge(stats);
        }
    }
    let canary = arms.get(id).map(totals).unwrap_or_default();
    let Some(reason) = test.update(totals(&baseline), canary) else {
        return;
    };
    let Samples { baseline, canary } = test.samples(reason);
    experiment.rollbacks.roll_back(Rollback {
        arm: index,
        reason,
        since: clock::since_epoch(),
        baseline,
        canary,
    });
    let count = |count: Count| serde_json::json!({ "bad": count.bad, "all": count.all });
    log::event(
        "canary_rolled_back",
        &serde_json::json!({
            "model": id.model.text().to_string(),
            "experiment": id.experiment.text().to_string(),
            "arm": id.arm.text().to_string(),
            "reason": reason.as_str(),
            "baseline": count(baseline),
            "canary": count(canary),
        }),
    );
}

fn totals(stats: &ArmMetrics) -> Totals {
    let cumulative = |histogram: &Histogram| histogram.cumulative().collect();
    Totals {
        errors: Count {
            bad: stats.bad.get(),
            all: stats.attempted.get(),
        },
        first_token: cumulative(stats.time_to_first_token_seconds.get()),
        whole: stats
            .duration_seconds
            .get(false)
            .map(cumulative)
            .unwrap_or_default(),
    }
}

/// The arms of all cores; `None` unless every core replies in time.
async fn gather_arms(plane: &Plane) -> Option<GroupBy<ArmMetrics>> {
    let mut sum = GroupBy::default();
    for arms in gather(&plane.cores, REPLY_WITHIN, CoreMessage::Arms).await {
        sum.merge(&arms?);
    }
    Some(sum)
}
