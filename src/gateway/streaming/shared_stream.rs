//! Relays a shared call to a client that follows it.

use crate::accounting::billing::BilledUsage;
use crate::cache::coalesce::call_end::{End, Head, SharedResponse};
use crate::cache::coalesce::shared_call::{Follower, FollowerRead};
use crate::error::code::ErrorCode;
use crate::error::gateway_error::GatewayError;
use crate::gateway::caching::coalesce::unless_interrupted;
use crate::gateway::context::request_context::RequestContext;
use crate::gateway::core::Core;
use crate::gateway::streaming::buffered_response;
use crate::gateway::streaming::event_writer::{ArrivedEvents, Framing, append_events};
use crate::gateway::streaming::stream_end::StreamEnd;
use crate::gateway::streaming::stream_response;
use crate::gateway::transform::relay::Relay;
use crate::protocols::registry;
use crate::protocols::usage::Usage;
use crate::runtime::buffer;
use crate::runtime::io::{Interruption, SocketError};
use crate::runtime::turn::Turn;
use crate::server::client::Client;

/// Relays a stream that has begun.
pub(crate) async fn relay_stream(
    core: &Core,
    follower: &Follower,
    head: &Head,
    wants_usage: bool,
    client: &mut Client,
    ctx: &mut RequestContext,
) {
    ctx.cache.coalesced();
    ctx.route.target = Some(head.target);
    let out = stream_response::begin(head.status, &head.forwarded, client, ctx);
    let (sent, out) = client.write(out).await;
    let client_api = ctx.format.client_api;
    let relay = if client_api == registry::DEFAULT {
        Relay::openai(wants_usage)
    } else {
        Relay::forward(client_api, None)
    };
    let write = LastWrite { sent, buffer: out };
    let (end, usage) = follow(core, follower, relay, write, client).await;
    if matches!(end, StreamEnd::Complete) {
        ctx.record_billed_usage(core, BilledUsage::Saved(usage));
    }
    stream_response::conclude(core, end, client, ctx).await;
}

/// Sends what a call ended with, when no stream had begun.
///
/// # Errors
/// The call failed.
pub(crate) async fn relay_end(
    core: &Core,
    end: End,
    client: &mut Client,
    ctx: &mut RequestContext,
) -> Result<(), GatewayError> {
    ctx.cache.coalesced();
    match end {
        End::Whole(response) => {
            relay_response(core, &response, client, ctx).await;
            Ok(())
        }
        End::Failed {
            error,
            should_retry,
        } => {
            ctx.outcome.should_retry = should_retry;
            Err(GatewayError::clone(&error))
        }
        // A complete stream has a head.
        End::Complete(_) | End::Stored | End::Lost => Err(call_lost()),
    }
}

async fn relay_response(
    core: &Core,
    response: &SharedResponse,
    client: &mut Client,
    ctx: &mut RequestContext,
) {
    ctx.route.target = Some(response.head.target);
    // Both attempts of the call have failed: the client need not retry.
    ctx.outcome.should_retry = response.may_retry.then_some(false);
    if (200..300).contains(&response.head.status) {
        ctx.record_billed_usage(core, BilledUsage::Saved(response.usage));
    }
    buffered_response::send(response, client, ctx).await;
}

/// The outcome of the last write to a client, and its buffer.
pub(crate) struct LastWrite {
    pub sent: Result<(), SocketError>,
    pub buffer: Vec<u8>,
}

/// Relays what a follower reads, to the end of the stream; returns also the usage that the stream reported.
pub(crate) async fn follow(
    core: &Core,
    follower: &Follower,
    mut relay: Relay,
    write: LastWrite,
    client: &mut Client,
) -> (StreamEnd, Option<Usage>) {
    let LastWrite {
        mut sent,
        buffer: mut out,
    } = write;
    let mut arrived = buffer::take(buffer::CLASS_BYTES[0]);
    // The call may be on another core, which always has more to read.
    let mut turn = Turn::default();
    let end = loop {
        if sent.is_err() {
            break StreamEnd::ClientGone;
        }
        if relay.is_done() {
            break StreamEnd::Complete;
        }
        turn.next().await;
        let read = unless_interrupted(client, |cx| {
            let read = follower.poll_read(&mut arrived, cx);
            if read.is_pending() {
                turn.waited();
            }
            read
        })
        .await;
        turn.record(arrived.len());
        let is_last = match read {
            Err(Interruption::ClientGone) => break StreamEnd::ClientGone,
            Err(_) => break StreamEnd::Drained,
            Ok(FollowerRead::More) => false,
            Ok(FollowerRead::Over(End::Complete(_))) => true,
            Ok(FollowerRead::Over(End::Failed { error, .. })) => {
                break StreamEnd::Upstream(GatewayError::clone(&error));
            }
            Ok(FollowerRead::Over(_)) => break StreamEnd::Upstream(call_lost()),
            Ok(FollowerRead::Lagged) => break StreamEnd::TooSlow(too_slow()),
        };
        out.clear();
        let events = ArrivedEvents {
            bytes: &mut arrived,
            is_last,
        };
        // The relay of the call's own client ends the stream when an event is too large.
        let _ = append_events(
            core,
            &mut relay,
            events,
            Framing::of(client),
            &mut out,
            |_, _| {},
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
    let events = &mut core.metrics.borrow_mut().requests.stream_events;
    events.add(relay.events());
    (end, relay.usage())
}

fn call_lost() -> GatewayError {
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
