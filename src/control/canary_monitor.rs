//! The watch over canaries: once a second their arms' numbers are gathered from all cores, and one that is
//! shown to do worse than its baseline loses its share, until somebody gives it back.

use crate::control::core_message::CoreMessage;
use crate::control::gather::{REPLY_WITHIN, gather};
use crate::control::log;
use crate::control::plane::Plane;
use crate::gateway::experiments::arms::{ExperimentRoute, Rollback};
use crate::observability::metrics::arms::{ArmId, ArmMetrics};
use crate::observability::metrics::group::{GroupBy, MetricGroup};
use crate::observability::metrics::histogram::Histogram;
use crate::routing::canary::{CanaryTest, Count, Totals};
use crate::routing::indices::ArmIndex;
use crate::runtime::clock;
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// How often they are looked at.
pub(crate) const EVERY: Duration = Duration::from_secs(1);

/// What is watched: an arm, as often as its experiment was reset.
type CanaryMonitors = HashMap<(ArmId, u32), CanaryTest>;

/// The watch's memory; on the control plane's thread only.
#[derive(Clone, Default)]
pub(crate) struct Watchers(Rc<RefCell<CanaryMonitors>>);

/// Looks at all canaries once.
pub(crate) async fn look(plane: Arc<Plane>, watchers: Watchers) {
    let snapshot = plane.shared.snapshot.load_full();
    let experiments = || {
        snapshot
            .models
            .values()
            .filter_map(|one| one.experiment.as_ref())
    };
    if !experiments().any(|one| one.arms.iter().any(|arm| arm.is_canary)) {
        watchers.0.borrow_mut().clear();
        return;
    }
    // A core that is left out would look like requests that never were.
    let Some(arms) = gather_arms(&plane).await else {
        return;
    };
    let mut watches = watchers.0.borrow_mut();
    let mut current = Vec::new();
    for experiment in experiments() {
        let resets = experiment.rollbacks.resets();
        let canaries = experiment.arms.iter().enumerate();
        for (index, arm) in canaries.filter(|(_, arm)| arm.is_canary) {
            let key = (arm.id, resets);
            current.push(key);
            let index = ArmIndex::new(index);
            if !experiment.rollbacks.is_off(index) {
                let watch = watches.entry(key).or_default();
                judge(experiment, index, arm.id, watch, &arms);
            }
        }
    }
    watches.retain(|key, _| current.contains(key));
}

/// Rolls a canary back if that is shown.
fn judge(
    experiment: &ExperimentRoute,
    arm: ArmIndex,
    id: ArmId,
    watch: &mut CanaryTest,
    arms: &GroupBy<ArmMetrics>,
) {
    let mut baseline = ArmMetrics::default();
    for other in experiment.arms.iter().filter(|arm| !arm.is_canary) {
        if let Some(stats) = arms.get(other.id) {
            baseline.merge(stats);
        }
    }
    let canary = arms.get(id).map(totals).unwrap_or_default();
    let Some(why) = watch.look(totals(&baseline), canary) else {
        return;
    };
    let (baseline, canary) = watch.seen(why);
    experiment.rollbacks.roll_back(Rollback {
        arm,
        why,
        since: clock::since_epoch(),
        baseline,
        canary,
    });
    let told = |count: Count| serde_json::json!({ "bad": count.bad, "all": count.all });
    log::event(
        "canary_rolled_back",
        &serde_json::json!({
            "model": id.model.text().to_string(),
            "experiment": id.experiment.text().to_string(),
            "arm": id.arm.text().to_string(),
            "reason": why.name(),
            "baseline": told(baseline),
            "canary": told(canary),
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
