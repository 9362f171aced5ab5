//! Sends a request to one target: once, and once more on a new connection if a pooled one had died. It must not know
//! which target comes next.

use crate::error::class::Retry;
use crate::gateway::attempt::attempt_error;
use crate::gateway::attempt::attempt_error::AttemptError;
use crate::gateway::attempt::attempt_guard::AttemptGuard;
use crate::gateway::attempt::classify;
use crate::gateway::attempt::client_watch::ClientWatch;
use crate::gateway::attempt::read_response::read_response;
use crate::gateway::attempt::response::AttemptResult;
use crate::gateway::attempt::response_head::read_head;
use crate::gateway::attempt::target_call::{CallStats, TargetCall};
use crate::observability::metrics::upstream::AttemptOutcome;
use crate::routing::health::Outcome;
use crate::runtime::buffer;
use crate::runtime::clock;
use crate::upstream::exchange::{ConnectionUse, UpstreamError, exchange};

pub(crate) async fn send(
    call: &TargetCall<'_>,
    mut attempt_guard: AttemptGuard,
    watch: &mut ClientWatch<'_, '_>,
    stats: &mut CallStats,
) -> Result<AttemptResult, AttemptError> {
    let TargetCall {
        core,
        backend,
        plan,
        ..
    } = *call;
    let until = plan.scope.deadline.by;
    let mut request = call
        .encode(attempt_guard.key_index(), stats)
        .map_err(|failed| *failed)?;
    let mut is_fresh = false;
    loop {
        stats.attempts += 1;
        let sent_at = clock::recent();
        let (endpoint, pool) = (&backend.endpoint, (!is_fresh).then_some(&core.pool));
        let (exchanged, returned, used) =
            exchange(endpoint, pool, request, until, watch, read_head).await;
        request = returned;
        count_connection(call, used);
        attempt_guard.sent(core, sent_at, used.connect);
        let error = match exchanged {
            Ok(response) => {
                buffer::give(request);
                let waited = response.first_byte_at.saturating_duration_since(sent_at);
                stats.waited += waited;
                stats.first_byte = Some(waited);
                return read_response(call, attempt_guard, response, watch, stats).await;
            }
            Err(error) => error,
        };
        stats.waited += clock::now().saturating_duration_since(sent_at);
        let was_interrupted = matches!(error, UpstreamError::Interrupted(_));
        let is_late = !was_interrupted && plan.scope.deadline.is_over();
        if !is_late {
            call.count(classify::outcome_of_error(&error));
            if error.retry() == Retry::OnFreshConnection && !is_fresh {
                is_fresh = true;
                continue;
            }
        }
        buffer::give(request);
        attempt_guard.waited(core, plan.series());
        if is_late {
            call.count(AttemptOutcome::Deadline);
            // The request had no more time; the target did not fail.
            attempt_guard.end(core, Outcome::Abandoned);
            let deadline = &plan.scope.deadline;
            return Err(attempt_error::deadline_exceeded(backend, &error, deadline));
        }
        attempt_guard.end(core, classify::health_of_error(&error));
        return Err(attempt_error::exchange_failed(backend, &error));
    }
}

fn count_connection(call: &TargetCall<'_>, used: ConnectionUse) {
    let mut metrics = call.core.metrics.borrow_mut();
    if used.reused {
        metrics.upstream.reuses.increment();
    } else {
        metrics.upstream.connects.increment();
    }
}
