//! Mode `observe`: compares the fresh response with the semantic hit that would have been served.
//!
//! It must not delay the request: the look-up may still be in progress, and a task of its own waits for it.

use crate::cache::quality::error_rate::SampleOutcome;
use crate::cache::response::cached_response::CachedResponse;
use crate::cache::semantic::hit_comparison::HitComparison;
use crate::cache::semantic::tier::LookupResult;
use crate::gateway::caching::active_session::ActiveSession;
use crate::runtime::spawn;
use futures_channel::oneshot;
use std::sync::Arc;

/// Compares once the look-up has ended, if it found a hit.
pub(crate) fn compare(
    session: &ActiveSession,
    mut outcome: oneshot::Receiver<LookupResult>,
    fresh: &CachedResponse,
) {
    let Some(semantic) = session.core.shared.semantic.clone() else {
        return;
    };
    let received = outcome.try_recv();
    if matches!(received, Ok(Some(Err(_))) | Err(_)) {
        return;
    }
    let config = &session.config().semantic;
    let (model, question) = (session.model, session.key().question().to_owned());
    let fresh = fresh.content().to_owned();
    let (wrong_hit_rate_max, logs) = (config.wrong_hit_rate_max, config.log.is_some());
    let task = async move {
        let hit = match received {
            Ok(Some(Ok(hit))) => hit,
            _ => match outcome.await {
                Ok(Ok(hit)) => hit,
                _ => return,
            },
        };
        let compared = Arc::clone(&semantic).compare_hit(HitComparison {
            model,
            question,
            hit,
            fresh,
            wrong_hit_rate_max,
            logs,
        });
        semantic.quality().count_sample(if compared.is_ok() {
            SampleOutcome::Compared
        } else {
            SampleOutcome::Failed
        });
    };
    spawn::spawn(task, |_| {});
}
