//! Targets in the admin API: an operator ends what a provider's response, or failures, closed.

use crate::admin::query::Query;
use crate::admin::response::{AdminResponse, error, ok};
use crate::control::core_message::CoreMessage;
use crate::control::gather::{REPLY_WITHIN, gather};
use crate::control::log;
use crate::control::plane::Plane;
use crate::control::shared_health;
use crate::error::code::ErrorCode;
use crate::routing::indices::TargetSlot;
use serde_json::json;
use std::collections::HashSet;
use std::sync::Arc;

/// Forgets failures and cooldowns of one target, or of all, on every core.
pub(crate) async fn reset(plane: &Plane, query: Query) -> AdminResponse {
    let wanted = query.get("target");
    let slots = slots(plane, wanted);
    if slots.is_empty() {
        let message = "no model has such a target; a target is written `provider/model`";
        return error(ErrorCode::NoSuchTarget, message);
    }
    let count = slots.len();
    let replies = gather(&plane.cores, REPLY_WITHIN, |done| {
        let slots = Arc::clone(&slots);
        CoreMessage::ResetTargets { slots, done }
    });
    let cores = replies.await.into_iter().flatten().count();
    shared_health::forget(plane, &slots);
    let facts = json!({ "target": wanted, "targets": count, "cores": cores });
    log::event("targets_reset", &facts);
    ok(&json!({ "targets": count, "cores": cores }))
}

/// The targets called `wanted`, or all.
fn slots(plane: &Plane, wanted: Option<&str>) -> Arc<[TargetSlot]> {
    let snapshot = plane.shared.snapshot.load();
    let mut slots = HashSet::new();
    for route in snapshot.models.values() {
        for (target, target_ref) in route.targets.iter().zip(&route.target_refs) {
            if wanted.is_none_or(|wanted| *target.label.text() == *wanted) {
                slots.insert(target_ref.slot);
            }
        }
    }
    slots.into_iter().collect()
}
