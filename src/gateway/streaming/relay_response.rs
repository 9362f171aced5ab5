//! Moving the answer to the client, settling it, and handing it to the cache.

use crate::accounting::billing::BilledUsage;
use crate::cache::coalesce::call_end::{End, Head, SharedResponse};
use crate::cache::coalesce::shared_call::{Follower, OwnerUsage};
use crate::cache::coalesce::shared_calls::Leader;
use crate::cache::response::cached_response::CachedResponse;
use crate::cache::response::not_stored::NotStored;
use crate::error::code::ErrorCode;
use crate::error::gateway_error::GatewayError;
use crate::gateway::attempt::attempt_loop::BufferedResponse;
use crate::gateway::attempt::classify;
use crate::gateway::caching::coalesce;
use crate::gateway::caching::coalesce::Written;
use crate::gateway::caching::lookup::CacheSession;
use crate::gateway::context::request_context::RequestContext;
use crate::gateway::core::Core;
use crate::gateway::experiments::mirroring;
use crate::gateway::respond;
use crate::gateway::streaming::json_array::JsonArray;
use crate::gateway::streaming::relay::Relay;
use crate::gateway::streaming::translate_body;
use crate::gateway::streaming::upstream_stream::{StreamEnd, UpstreamStream, stopping};
use crate::headers;
use crate::http::encode;
use crate::protocols::registry;
use crate::protocols::usage;
use crate::routing::health::Outcome;
use crate::runtime::buffer;
use crate::runtime::heap::on_heap;
use crate::server::client::Client;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

/// Relays a whole answer.
pub(crate) async fn whole(
    core: &Core,
    response: BufferedResponse,
    mut cache: CacheSession,
    leader: Option<Leader>,
    client: &mut Client,
    ctx: &mut RequestContext,
) {
    let (usage, mut read) = match ctx.format.client_api == registry::DEFAULT {
        true => (usage::in_answer(&response.body), None),
        false => {
            let mut scratch = core.scratch.borrow_mut();
            let read = translate_body::read_client_response(
                ctx.format.client_api,
                response.status,
                &response.body,
                &mut scratch,
            );
            (read.usage, Some(read.cacheable))
        }
    };
    if (200..300).contains(&response.status) {
        ctx.record_billed_usage(
            core,
            usage.map_or(BilledUsage::Unknown, BilledUsage::Reported),
        );
    }
    let response = SharedResponse {
        usage,
        may_retry: classify::outcome_of(response.status, None) != Outcome::Good,
        head: Head {
            target: response.target,
            status: response.status,
            forwarded: response.head.passed,
        },
        body: response.body,
    };
    let Some(leader) = leader else {
        send_whole(&response, client, ctx).await;
        mirroring::served_whole(core, &response, ctx);
        store_whole(&response, read.take(), &mut cache);
        return buffer::give(response.body);
    };
    // Those who follow do not wait for this client.
    let response = Arc::new(response);
    leader.finish(End::Whole(Arc::clone(&response)));
    send_whole(&response, client, ctx).await;
    mirroring::served_whole(core, &response, ctx);
    store_whole(&response, read.take(), &mut cache);
    // From here on the store answers.
    client.followers = None;
    drop(leader);
    if let Some(response) = Arc::into_inner(response) {
        buffer::give(response.body);
    }
}

/// Sends a whole answer.
pub(crate) async fn send_whole(
    response: &SharedResponse,
    client: &mut Client,
    ctx: &mut RequestContext,
) {
    let head = &response.head;
    let mut out = buffer::take(512 + response.body.len());
    respond::begin_head(&mut out, head.status, ctx, client);
    respond::append_passed(&mut out, &head.forwarded, ctx);
    if head.status >= 400 {
        respond::advise(&mut out, ctx);
    }
    // A client that is gone changes nothing: the answer is complete, paid for, and worth storing.
    let _ = match ctx.format.array {
        Some(_) => respond::finish_whole(client, out, &JsonArray::of_one(&response.body)).await,
        None => respond::finish_whole(client, out, &response.body).await,
    };
}

/// Stores it; it was read already if it is not in OpenAI's dialect.
fn store_whole(
    response: &SharedResponse,
    read: Option<Result<CachedResponse, NotStored>>,
    cache: &mut CacheSession,
) {
    if response.head.status == 200 {
        cache.store(response.head.target, |core| match read {
            Some(read) => read,
            None => {
                let mut scratch = core.scratch.borrow_mut();
                CachedResponse::from_whole(&response.body, response.usage, &mut scratch)
            }
        });
    }
}

/// Relays a stream to the client that caused it.
pub(crate) async fn stream(
    core: &Core,
    mut upstream_stream: UpstreamStream,
    client: &mut Client,
    ctx: &mut RequestContext,
) {
    if let Some(time) = ctx.timing.first_byte {
        let mut metrics = core.metrics.borrow_mut();
        metrics
            .upstream
            .time_to_first_token_seconds
            .record(upstream_stream.target(), time.as_secs_f64());
    }
    upstream_stream.mirrored = ctx
        .background
        .mirror
        .as_mut()
        .and_then(|mirror| mirror.take_reader());
    let out = begin_stream(upstream_stream.head(), client, ctx);
    let end = match pump(upstream_stream, out, client, ctx).await {
        Pumped::Ended(end, mut upstream_stream) => {
            mirroring::served_stream(upstream_stream.mirrored.take(), &end, ctx);
            core.metrics
                .borrow_mut()
                .requests
                .stream_events
                .add(upstream_stream.relay.events());
            ctx.record_billed_usage(core, upstream_stream.billed_usage());
            ctx.format.array = upstream_stream.relay.array();
            upstream_stream.finish(&end, client).await;
            end
        }
        Pumped::Joined {
            follower,
            relay,
            sent,
        } => {
            client.followers = None;
            // On the heap: rare.
            let listening = on_heap(|| coalesce::listen(core, &follower, relay, sent, client));
            let (end, usage) = listening.await;
            if let OwnerUsage::Record(usage) = follower.leave_as_owner(usage) {
                ctx.record_billed_usage(
                    core,
                    usage.map_or(BilledUsage::Unknown, BilledUsage::Reported),
                );
            }
            end
        }
    };
    conclude(core, end, client, ctx).await;
}

/// The head of a stream's answer, up to its first event.
pub(crate) fn begin_stream(
    (status, passed): (u16, &[u8]),
    client: &mut Client,
    ctx: &mut RequestContext,
) -> Vec<u8> {
    let mut out = buffer::take(buffer::CLASS_BYTES[0]);
    respond::begin_head(&mut out, status, ctx, client);
    respond::append_passed(&mut out, passed, ctx);
    headers::CACHE_CONTROL.write(&mut out, b"no-cache");
    if client.is_http10 {
        client.keep_alive = false;
    } else {
        encode::chunked(&mut out);
    }
    encode::end_head(&mut out);
    out
}

/// What became of a stream that was relayed by the connection of the client that caused it.
// One per stream.
#[allow(clippy::large_enum_variant)]
enum Pumped {
    /// It ended.
    Ended(StreamEnd, UpstreamStream),
    /// Others follow, and the client did not keep up: it goes on by itself.
    Joined {
        follower: Follower,
        relay: Relay,
        /// What became of the last write.
        sent: Written,
    },
}

/// Moves events until the stream ends; the first write carries the head.
async fn pump(
    mut upstream_stream: UpstreamStream,
    mut out: Vec<u8>,
    client: &mut Client,
    ctx: &RequestContext,
) -> Pumped {
    loop {
        upstream_stream.take_in(!client.is_http10, &mut out);
        let ended = upstream_stream.ended();
        if !out.is_empty() {
            let mut write = pin!(client.write(out));
            let at_once = poll_fn(|cx| match write.as_mut().poll(cx) {
                Poll::Ready(sent) => Poll::Ready(Some(sent)),
                Poll::Pending => upstream_stream.poll_has_followers(cx).map(|()| None),
            });
            out = match at_once.await {
                Some((Ok(()), buffer)) => buffer,
                Some((Err(_), _)) if upstream_stream.close_if_no_followers() => {
                    return Pumped::Ended(StreamEnd::Client, upstream_stream);
                }
                // Those who follow do not wait for this client.
                waits_or_gone => {
                    let (follower, relay) = match upstream_stream.detach(ctx) {
                        Ok(follower) => follower,
                        Err(upstream_stream) => {
                            return Pumped::Ended(StreamEnd::Client, upstream_stream);
                        }
                    };
                    let sent = match waits_or_gone {
                        Some(sent) => sent,
                        None => write.await,
                    };
                    return Pumped::Joined {
                        follower,
                        relay,
                        sent,
                    };
                }
            };
            out.clear();
        }
        if let Some(end) = ended {
            buffer::give(out);
            return Pumped::Ended(end, upstream_stream);
        }
        if let Err(end) = upstream_stream.read(client).await {
            return Pumped::Ended(end, upstream_stream);
        }
    }
}

/// Tells a client how its stream ended, unless that was well.
pub(crate) async fn conclude(
    core: &Core,
    end: StreamEnd,
    client: &mut Client,
    ctx: &mut RequestContext,
) {
    let (side, fault) = match end {
        StreamEnd::Complete => return,
        StreamEnd::Client => {
            client.keep_alive = false;
            ctx.outcome.failed(ErrorCode::ClientDisconnected);
            core.metrics
                .borrow_mut()
                .requests
                .streams_broken
                .increment("client");
            return;
        }
        StreamEnd::TooSlow(fault) => ("client", fault),
        StreamEnd::Upstream(fault) => ("upstream", fault),
        StreamEnd::Drained => ("drain", stopping()),
    };
    ctx.outcome.failed(fault.code);
    core.metrics
        .borrow_mut()
        .requests
        .streams_broken
        .increment(side);
    break_stream(ctx, client, &fault).await;
}

/// Tells the client that its stream is not complete, and closes the connection.
async fn break_stream(ctx: &mut RequestContext, client: &mut Client, fault: &GatewayError) {
    client.keep_alive = false;
    let mut event = Vec::with_capacity(256);
    ctx.format.client_api.write_fault_event(fault, &mut event);
    if let Some(array) = &mut ctx.format.array {
        array.rewrite(&mut event, 0);
        array.end(&mut event);
    }
    let mut out = Vec::with_capacity(event.len() + 32);
    if client.is_http10 {
        out = event;
    } else {
        encode::chunk(&mut out, &event);
        encode::last_chunk(&mut out);
    }
    let _ = client.write(out).await;
}
