//! Mode `observe`: what the answer that was bought says of the hit that would have been.
//!
//! It must not delay the trip: the look-up may still be under way, and is waited for by a task of its own.

use crate::base::names::Name;
use crate::cache::quality::error_rate::SampleOutcome;
use crate::cache::response::cached_response::CachedResponse;
use crate::cache::semantic::hit_comparison::HitComparison;
use crate::cache::semantic::tier::LookupResult;
use crate::config::sections::cache::Semantic as Config;
use crate::gateway::core::Core;
use crate::runtime::spawn;
use futures_channel::oneshot;
use std::sync::Arc;

/// Compares once the look-up is through, if it found a hit.
pub(crate) fn compare(
    core: &Core,
    config: &Config,
    mut outcome: oneshot::Receiver<LookupResult>,
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
    let (wrong_hit_rate_max, logs) = (config.wrong_hit_rate_max, config.log.is_some());
    let task = async move {
        let hit = match known {
            Ok(Some(Ok(hit))) => hit,
            _ => match outcome.await {
                Ok(Ok(hit)) => hit,
                _ => return,
            },
        };
        let learned = Arc::clone(&semantic).compare_hit(HitComparison {
            model,
            question,
            hit,
            fresh,
            wrong_hit_rate_max,
            logs,
        });
        semantic.quality().count_sample(if learned.is_ok() {
            SampleOutcome::Compared
        } else {
            SampleOutcome::Failed
        });
    };
    spawn::spawn(task, |_| {});
}
