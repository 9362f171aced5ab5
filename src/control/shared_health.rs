//! Shares the health of targets between the cores: what each core observed is gathered and given to all of them, so
//! that a core that has not used a target begins with what the others know.

use crate::control::core_message::CoreMessage;
use crate::control::gather::gather;
use crate::control::plane::Plane;
use crate::routing::indices::TargetSlot;
use crate::routing::shared_health::SharedHealth;
use std::sync::Arc;
use std::time::Duration;

/// How often the health is shared.
pub(crate) const EVERY: Duration = Duration::from_secs(1);
/// How long a core may take to reply; what comes later is part of the next round.
const WITHIN: Duration = Duration::from_millis(500);

/// Removes targets from what was published.
pub(crate) fn forget(plane: &Plane, slots: &[TargetSlot]) {
    let shared = &plane.shared.shared_health;
    let published = shared.load();
    let mut health = slots
        .iter()
        .fold((**published).clone(), |health, slot| health.without(*slot));
    health.number += 1;
    shared.store(Arc::new(health));
}

/// Gathers once and publishes. A core that does not reply in time is left out.
pub(crate) async fn share(plane: Arc<Plane>) {
    if plane.cores.len() < 2 {
        return;
    }
    let replies = gather(&plane.cores, WITHIN, CoreMessage::Health).await;
    let observations: Vec<_> = replies.into_iter().flatten().collect();
    let shared = &plane.shared.shared_health;
    let number = shared.load().number + 1;
    shared.store(Arc::new(SharedHealth::of(number, &observations)));
}
