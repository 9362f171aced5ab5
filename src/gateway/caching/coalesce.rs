//! One upstream call for identical requests in flight: who makes it, and what those do who follow.

use crate::accounting::billing::BilledUsage;
use crate::cache::coalesce::call_end::{End, Head, SharedResponse};
use crate::cache::coalesce::shared_call::{Follower, FollowerRead, SharedCall, StreamStart};
use crate::cache::coalesce::shared_calls::{JoinResult, Leader};
use crate::error::code::ErrorCode;
use crate::error::gateway_error::GatewayError;
use crate::gateway::attempt::attempt_loop::{AttemptPlan, AttemptResult};
use crate::gateway::attempt::classify;
use crate::gateway::caching::lookup::CacheSession;
use crate::gateway::caching::serve_hit;
use crate::gateway::caching::stale;
use crate::gateway::context::request_context::RequestContext;
use crate::gateway::core::Core;
use crate::gateway::plan::deadline::RequestDeadline;
use crate::gateway::snapshot::ModelRoute;
use crate::gateway::streaming::relay::Relay;
use crate::gateway::streaming::relay_response;
use crate::gateway::streaming::upstream_stream::{StreamEnd, append_events};
use crate::protocols::client_api;
use crate::protocols::request::chat_request::ChatRequest;
use crate::protocols::usage::Usage;
use crate::runtime::buffer;
use crate::runtime::clock;
use crate::runtime::heap::on_heap;
use crate::runtime::io::{Interrupt, Interruption, SocketError, before};
use crate::server::client::{Client, Followers};
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// What became of a write, and its buffer.
pub(crate) type Written = (Result<(), SocketError>, Vec<u8>);

impl Followers for SharedCall {
    fn poll_no_followers(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.poll_abandoned(cx)
    }
}

/// What a request found.
pub(crate) enum CoalesceOutcome {
    /// The answer of another's call, and it was served.
    Served,
    /// That it is to make the call, for those who follow too; `None`: for itself only.
    Calls(Option<Leader>),
}

/// Joins the same request's call in flight, or takes on making it.
///
/// # Errors
/// The fault of the call that was joined.
pub(crate) async fn board(
    core: &Core,
    cache: &mut CacheSession,
    models: &[&ModelRoute],
    plan: &AttemptPlan<'_>,
    chat: &ChatRequest,
    client: &mut Client,
    ctx: &mut RequestContext,
) -> Result<CoalesceOutcome, GatewayError> {
    // Those who follow get events.
    if ctx.format.array.is_some() {
        return Ok(CoalesceOutcome::Calls(None));
    }
    let Some((call, key)) = cache.call(may_answer(models, plan), plan.streams) else {
        return Ok(CoalesceOutcome::Calls(None));
    };
    let shared_calls = &core.shared.shared_calls;
    loop {
        let leader = match shared_calls.join(call, &key, ctx.timing.started_at) {
            JoinResult::Alone => return Ok(CoalesceOutcome::Calls(None)),
            JoinResult::Lead(leader) => Some(leader),
            JoinResult::Follow(follower) => {
                let request_deadline = &plan.request_deadline;
                // On the heap: rare.
                let following =
                    on_heap(|| follow(core, &follower, cache, chat, request_deadline, client, ctx));
                match following.await? {
                    FollowOutcome::Served => return Ok(CoalesceOutcome::Served),
                    FollowOutcome::Stored => None,
                    FollowOutcome::Leads => Some(shared_calls.take_over(call, &follower)),
                }
            }
        };
        if leader.as_ref().is_none_or(Leader::may_be_stored)
            && let Some(hit) = cache.exact(ctx)
        {
            if let Some(leader) = leader {
                leader.finish(End::Stored);
            }
            serve_hit::hit(core, &hit, chat, client, ctx).await?;
            return Ok(CoalesceOutcome::Served);
        }
        if let Some(leader) = leader {
            client.followers = Some(Arc::clone(leader.shared_call()) as _);
            return Ok(CoalesceOutcome::Calls(Some(leader)));
        }
    }
}

/// What stands for the models that may answer beside the one asked for, which the key knows.
fn may_answer(models: &[&ModelRoute], plan: &AttemptPlan<'_>) -> u64 {
    let chain = models.iter().skip(1).map(|route| Some(*route));
    let refused = [plan.fallbacks.context_length, plan.fallbacks.content_policy];
    let others = chain.chain(refused);
    // Each is hashed with those before it, so that their places count.
    others.fold(0, |hash, route| {
        let identity = route.map_or(0, |route| route.identity);
        xxh3_64_with_seed(&identity.to_le_bytes(), hash)
    })
}

/// Tells those who follow of a call that came to nothing.
pub(crate) fn tell_fault(
    leader: Option<&Leader>,
    attempted: &Result<AttemptResult, GatewayError>,
    ctx: &RequestContext,
) {
    if let (Some(leader), Err(fault)) = (leader, attempted) {
        let tried = ctx.route.attempts > 1;
        leader.finish(End::Failed {
            error: Arc::new(fault.clone()),
            should_retry: ctx.outcome.should_retry.or(tried.then_some(false)),
        });
    }
}

/// What became of a follower.
enum FollowOutcome {
    /// It was served.
    Served,
    /// The store has the answer.
    Stored,
    /// The call failed: it makes the next.
    Leads,
}

/// Follows a call to its end.
async fn follow(
    core: &Core,
    follower: &Follower,
    cache: &CacheSession,
    chat: &ChatRequest,
    request_deadline: &RequestDeadline,
    client: &mut Client,
    ctx: &mut RequestContext,
) -> Result<FollowOutcome, GatewayError> {
    let began_at = clock::recent();
    let outset = unless_interrupted(client, |cx| follower.poll_start(cx));
    let outset = before(request_deadline.by, outset).await;
    ctx.timing.waited_since(began_at);
    let Some(outset) = outset else {
        note(ctx);
        return Err(classify::out_of_time(request_deadline, None));
    };
    match outset.map_err(classify::interrupted)? {
        StreamStart::Stream(head) => {
            follow_stream(core, follower, &head, chat.wants_usage, client, ctx).await;
            Ok(FollowOutcome::Served)
        }
        StreamStart::Lead => Ok(FollowOutcome::Leads),
        StreamStart::Over(End::Stored) => Ok(FollowOutcome::Stored),
        StreamStart::Over(end) => {
            let failure = stale::failure_of_call(&end);
            if !stale::serve_instead(core, failure, cache, chat, client, ctx).await? {
                serve_end(core, end, client, ctx).await?;
            }
            Ok(FollowOutcome::Served)
        }
    }
}

/// Serves what a call ended with.
async fn serve_end(
    core: &Core,
    end: End,
    client: &mut Client,
    ctx: &mut RequestContext,
) -> Result<(), GatewayError> {
    note(ctx);
    match end {
        End::Whole(whole) => {
            serve_whole(core, &whole, client, ctx).await;
            Ok(())
        }
        End::Failed {
            error,
            should_retry,
        } => {
            ctx.outcome.should_retry = should_retry;
            Err(GatewayError::clone(&error))
        }
        // A stream without a head there is not.
        End::Complete(_) | End::Stored | End::Lost => Err(lost()),
    }
}

async fn serve_whole(
    core: &Core,
    whole: &SharedResponse,
    client: &mut Client,
    ctx: &mut RequestContext,
) {
    ctx.route.target = Some(whole.head.target);
    // It was asked for twice already.
    ctx.outcome.should_retry = whole.may_retry.then_some(false);
    if (200..300).contains(&whole.head.status) {
        ctx.record_billed_usage(core, BilledUsage::Saved(whole.usage));
    }
    relay_response::send_whole(whole, client, ctx).await;
}

async fn follow_stream(
    core: &Core,
    follower: &Follower,
    head: &Head,
    wants_usage: bool,
    client: &mut Client,
    ctx: &mut RequestContext,
) {
    note(ctx);
    ctx.route.target = Some(head.target);
    let out = relay_response::begin_stream((head.status, &head.forwarded), client, ctx);
    let sent = client.write(out).await;
    let relay = match ctx.format.client_api == client_api::DEFAULT {
        true => Relay::openai(wants_usage),
        false => Relay::forward(ctx.format.client_api, None),
    };
    let (end, usage) = listen(core, follower, relay, sent, client).await;
    if matches!(end, StreamEnd::Complete) {
        ctx.record_billed_usage(core, BilledUsage::Saved(usage));
    }
    relay_response::conclude(core, end, client, ctx).await;
}

/// Relays what is heard of a shared stream, to its end; also the usage that was heard of.
pub(crate) async fn listen(
    core: &Core,
    follower: &Follower,
    mut relay: Relay,
    sent: Written,
    client: &mut Client,
) -> (StreamEnd, Option<Usage>) {
    let (mut sent, mut out) = sent;
    let mut arrived = buffer::take(buffer::CLASS_BYTES[0]);
    let end = loop {
        if sent.is_err() {
            break StreamEnd::Client;
        }
        if relay.is_done() {
            break StreamEnd::Complete;
        }
        let heard = unless_interrupted(client, |cx| follower.poll_read(&mut arrived, cx)).await;
        let is_last = match heard {
            Err(Interruption::ClientGone) => break StreamEnd::Client,
            Err(_) => break StreamEnd::Drained,
            Ok(FollowerRead::More) => false,
            Ok(FollowerRead::Over(End::Complete(_))) => true,
            Ok(FollowerRead::Over(End::Failed { error, .. })) => {
                break StreamEnd::Upstream(GatewayError::clone(&error));
            }
            Ok(FollowerRead::Over(_)) => break StreamEnd::Upstream(lost()),
            Ok(FollowerRead::Lagged) => break StreamEnd::TooSlow(too_slow()),
        };
        out.clear();
        let chunked = !client.is_http10;
        append_events(
            core,
            &mut relay,
            |_, _| {},
            &mut arrived,
            is_last,
            chunked,
            &mut out,
        );
        if !out.is_empty() {
            (sent, out) = client.write(out).await;
        }
        if is_last && sent.is_ok() {
            break StreamEnd::Complete;
        }
    };
    buffer::give(arrived);
    buffer::give(out);
    core.metrics
        .borrow_mut()
        .requests
        .stream_events
        .add(relay.events());
    (end, relay.usage())
}

/// What `poll` waits for, unless the client or a stop comes first.
async fn unless_interrupted<T>(
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

fn note(ctx: &mut RequestContext) {
    ctx.cache.coalesced();
}

fn lost() -> GatewayError {
    GatewayError::new(
        ErrorCode::CoalescedRequestFailed,
        "the request that called the provider for this one too ended without an answer",
    )
}

fn too_slow() -> GatewayError {
    GatewayError::new(
        ErrorCode::CoalescedStreamTooSlow,
        "this stream is shared and was read too slowly: what came next is no longer held",
    )
}
