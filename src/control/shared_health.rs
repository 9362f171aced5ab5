//! What the cores know of targets, gathered and given back to all of them, so that a core which has not met
//! a target begins with what the others know.

use crate::control::core_thread::CoreMessage;
use crate::control::plane::Plane;
use crate::routing::shared_health::SharedHealth;
use crate::runtime::clock;
use std::sync::Arc;
use std::time::Duration;

/// How often that is done.
pub(crate) const EVERY: Duration = Duration::from_secs(1);
/// How long a core may take to tell: what comes later is part of the next view.
const WITHIN: Duration = Duration::from_millis(500);

/// Gathers once and publishes. A core that does not answer in time is left out.
pub(crate) async fn share(plane: Arc<Plane>) {
    if plane.cores.len() < 2 {
        return;
    }
    let asked: Vec<_> = plane
        .cores
        .iter()
        .map(|core| {
            let (upstream_response, response) = futures_channel::oneshot::channel();
            core.mailbox.send(CoreMessage::Known(upstream_response));
            response
        })
        .collect();
    let by = tokio::time::Instant::from_std(clock::now() + WITHIN);
    let mut told = Vec::new();
    for response in asked {
        if let Ok(Ok(known)) = tokio::time::timeout_at(by, response).await {
            told.push(known);
        }
    }
    let number = plane.shared.view.load().number + 1;
    plane
        .shared
        .view
        .store(Arc::new(SharedHealth::of(number, &told)));
}
