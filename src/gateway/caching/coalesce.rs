//! Coalescing: an identical request in flight shares its upstream call. Decides who makes the call; it must not know how
//! a response is sent.

use crate::cache::coalesce::call_end::{End, Head};
use crate::cache::coalesce::shared_call::{Follower, SharedCall, StreamStart};
use crate::cache::coalesce::shared_calls::{JoinResult, Leader};
use crate::error::gateway_error::GatewayError;
use crate::gateway::attempt::attempt_error;
use crate::gateway::attempt::attempt_plan::AttemptPlan;
use crate::gateway::caching::hit::Hit;
use crate::gateway::caching::session::CacheSession;
use crate::gateway::context::request_context::RequestContext;
use crate::gateway::core::Core;
use crate::gateway::plan::deadline::RequestDeadline;
use crate::gateway::snapshot::model::ModelRoute;
use crate::runtime::clock;
use crate::runtime::heap::on_heap;
use crate::runtime::io::{Interrupt, Interruption, before};
use crate::server::client::{Client, Followers};
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};
use xxhash_rust::xxh3::xxh3_64_with_seed;

impl Followers for SharedCall {
    fn poll_no_followers(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.poll_abandoned(cx)
    }
}

/// Where the response of a request comes from.
pub(crate) enum CoalesceOutcome {
    /// The request makes the call; with a leader, for its followers too.
    Call(Option<Leader>),
    Shared(SharedOutcome),
}

/// The response of an identical request.
pub(crate) enum SharedOutcome {
    /// It was stored in the meantime.
    Hit(Hit),
    /// It is a stream that has begun.
    Stream { follower: Follower, head: Arc<Head> },
    /// Its call has ended without a stream.
    Ended(End),
}

/// Joins the call of an identical request in flight, or begins one.
///
/// # Errors
/// The request's deadline has passed, or its client is gone.
pub(crate) async fn join(
    core: &Core,
    cache: &mut CacheSession,
    models: &[&ModelRoute],
    plan: &AttemptPlan<'_>,
    client: &mut Client,
    ctx: &mut RequestContext,
) -> Result<CoalesceOutcome, GatewayError> {
    // Followers get events, not the elements of an array.
    if ctx.format.array.is_some() {
        return Ok(CoalesceOutcome::Call(None));
    }
    let Some((coalesce_key, key)) =
        cache.coalesce_key(hash_others(models, plan), plan.body.streams)
    else {
        return Ok(CoalesceOutcome::Call(None));
    };
    let shared_calls = &core.shared.shared_calls;
    loop {
        let leader = match shared_calls.join(coalesce_key, &key, ctx.timing.started_at) {
            JoinResult::Alone => return Ok(CoalesceOutcome::Call(None)),
            JoinResult::Lead(leader) => Some(leader),
            JoinResult::Follow(follower) => {
                // On the heap: rare.
                let start =
                    on_heap(|| wait_for_start(&follower, &plan.scope.deadline, client, ctx));
                match start.await? {
                    StreamStart::Stream(head) => {
                        let stream = SharedOutcome::Stream { follower, head };
                        return Ok(CoalesceOutcome::Shared(stream));
                    }
                    StreamStart::Lead => Some(shared_calls.take_over(coalesce_key, &follower)),
                    StreamStart::Over(End::Stored) => None,
                    StreamStart::Over(end) => {
                        return Ok(CoalesceOutcome::Shared(SharedOutcome::Ended(end)));
                    }
                }
            }
        };
        if leader.as_ref().is_none_or(Leader::may_be_stored)
            && let Some(hit) = cache.look_up_exact(ctx)
        {
            if let Some(leader) = leader {
                leader.finish(End::Stored);
            }
            return Ok(CoalesceOutcome::Shared(SharedOutcome::Hit(hit)));
        }
        if let Some(leader) = leader {
            client.followers = Some(Arc::clone(leader.shared_call()) as _);
            return Ok(CoalesceOutcome::Call(Some(leader)));
        }
    }
}

/// Hash of the models that may answer beside the first, which the cache key knows.
fn hash_others(models: &[&ModelRoute], plan: &AttemptPlan<'_>) -> u64 {
    let chain = models.iter().skip(1).map(|route| Some(*route));
    let fallbacks = [plan.fallbacks.context_length, plan.fallbacks.content_policy];
    let others = chain.chain(fallbacks);
    // Each is hashed with those before it, so that their order counts.
    others.fold(0, |hash, route| {
        let identity = route.map_or(0, |route| route.identity);
        xxh3_64_with_seed(&identity.to_le_bytes(), hash)
    })
}

async fn wait_for_start(
    follower: &Follower,
    deadline: &RequestDeadline,
    client: &mut Client,
    ctx: &mut RequestContext,
) -> Result<StreamStart, GatewayError> {
    let began_at = clock::recent();
    let start = unless_interrupted(client, |cx| follower.poll_start(cx));
    let start = before(deadline.by, start).await;
    ctx.timing.waited_since(began_at);
    let Some(start) = start else {
        ctx.cache.coalesced();
        return Err(deadline.error(None));
    };
    start.map_err(attempt_error::interrupted)
}

/// Resolves with `poll`, unless the client leaves or the process stops first.
pub(crate) async fn unless_interrupted<T>(
    client: &mut Client,
    mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>,
) -> Result<T, Interruption> {
    poll_fn(|cx| {
        if let Poll::Ready(value) = poll(cx) {
            return Poll::Ready(Ok(value));
        }
        client.poll_interrupt(cx).map(Err)
    })
    .await
}

/// Ends a shared call whose attempts have all failed without a response.
pub(crate) fn fail_call(leader: &Leader, error: &GatewayError, ctx: &RequestContext) {
    let tried = ctx.route.attempts > 1;
    leader.finish(End::Failed {
        error: Arc::new(error.clone()),
        should_retry: ctx.outcome.should_retry.or(tried.then_some(false)),
    });
}
