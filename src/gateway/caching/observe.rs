//! Mode `observe`: what the answer that was bought says of the hit that would have been.
//!
//! It must not delay the trip: the look-up may still be under way, and is waited for by a task of its own.

use crate::base::names::Name;
use crate::cache::feedback::HitComparison;
use crate::cache::quality::error_rate::Sample;
use crate::cache::response::cached_response::CachedResponse;
use crate::cache::semantic::LookupOutcome;
use crate::config::sections::cache::Semantic as Config;
use crate::gateway::core::Core;
use crate::runtime::spawn;
use futures_channel::oneshot;
use std::sync::Arc;

/// Compares once the look-up is through, if it found a hit.
pub(crate) fn compare(
    core: &Core,
    config: &Config,
    mut outcome: oneshot::Receiver<LookupOutcome>,
    (question, model): (&str, Name),
    fresh: &CachedResponse,
) {
    let Some(semantic) = core.shared.semantic.clone() else {
        return;
    };
    let known = outcome.try_recv();
    if matches!(known, Ok(Some(Err(_))) | Err(_)) {
        return;
    }
    let (question, fresh) = (question.to_owned(), fresh.content().to_owned());
    let (input, logs) = (config.wrong_hit_rate_max, config.log.is_some());
    let task = async move {
        let hit = match known {
            Ok(Some(Ok(hit))) => hit,
            _ => match outcome.await {
                Ok(Ok(hit)) => hit,
                _ => return,
            },
        };
        let learned = Arc::clone(&semantic).learn(HitComparison {
            model,
            question,
            hit,
            fresh,
            input,
            logs,
        });
        semantic.quality().sampled(if learned.is_ok() {
            Sample::Compared
        } else {
            Sample::Failed
        });
    };
    spawn::spawn(task, |_| {});
}
