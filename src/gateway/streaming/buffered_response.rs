//! Sends a response that is not streamed to its client, and hands it to the cache, to followers and to a mirror.

use crate::accounting::billing::BilledUsage;
use crate::cache::coalesce::call_end::{End, Head, SharedResponse};
use crate::cache::response::cached_response::CachedResponse;
use crate::cache::response::not_stored::NotStored;
use crate::error::class::Retry;
use crate::gateway::attempt::response::BufferedResponse;
use crate::gateway::caching::session::CacheSession;
use crate::gateway::context::request_context::RequestContext;
use crate::gateway::core::Core;
use crate::gateway::experiments::mirroring::Mirror;
use crate::gateway::respond;
use crate::gateway::streaming::response_sinks::ResponseSinks;
use crate::gateway::transform::json_array::JsonArray;
use crate::gateway::transform::translate_body;
use crate::gateway::transform::translate_body::ReadResponse;
use crate::protocols::registry;
use crate::protocols::status_class::StatusClass;
use crate::protocols::usage;
use crate::runtime::buffer;
use crate::server::client::Client;
use std::sync::Arc;

pub(crate) async fn relay(
    core: &Core,
    response: BufferedResponse,
    mut sinks: ResponseSinks<'_>,
    client: &mut Client,
    ctx: &mut RequestContext,
) {
    if response.head.is_encoded {
        // A hit has no `content-encoding`.
        sinks.cache.turn_off();
    }
    let (usage, cacheable) = match read_translated(core, &response, ctx) {
        None => (usage::in_response(&response.body), None),
        Some(read) => (read.usage, Some(read.cacheable)),
    };
    if (200..300).contains(&response.status) {
        let billed = usage.map_or(BilledUsage::Unknown, BilledUsage::Reported);
        ctx.record_billed_usage(core, billed);
    }
    // Until the response is sent.
    let _reservation = response.reservation;
    let response = SharedResponse {
        usage,
        may_retry: StatusClass::of(response.status).retry() != Retry::Never,
        head: Head {
            target: response.target,
            status: response.status,
            forwarded: response.head.forwarded,
        },
        body: response.body,
    };
    let ResponseSinks {
        cache,
        leader,
        mirror,
    } = sinks;
    let Some(leader) = leader else {
        send(&response, client, ctx).await;
        show_mirror(core, &response, mirror, ctx);
        store(&response, cacheable, cache);
        return buffer::give(response.body);
    };
    // Followers do not wait for this client.
    let response = Arc::new(response);
    leader.finish(End::Whole(Arc::clone(&response)));
    send(&response, client, ctx).await;
    show_mirror(core, &response, mirror, ctx);
    store(&response, cacheable, cache);
    // From here on the store has the response: the table of shared calls may forget the call.
    client.followers = None;
    drop(leader);
    if let Some(response) = Arc::into_inner(response) {
        buffer::give(response.body);
    }
}

/// Reads a response that is not in OpenAI's format.
fn read_translated(
    core: &Core,
    response: &BufferedResponse,
    ctx: &RequestContext,
) -> Option<ReadResponse> {
    let client_api = ctx.format.client_api;
    if client_api == registry::DEFAULT {
        return None;
    }
    let mut scratch = core.scratch.borrow_mut();
    Some(translate_body::read_client_response(
        client_api,
        response.status,
        &response.body,
        &mut scratch,
    ))
}

/// Sends a response, the client's own or that of a shared call.
pub(crate) async fn send(response: &SharedResponse, client: &mut Client, ctx: &mut RequestContext) {
    let head = &response.head;
    let mut out = buffer::take(512 + response.body.len());
    respond::begin_head(&mut out, head.status, ctx, client);
    respond::append_forwarded(&mut out, &head.forwarded, ctx);
    if head.status >= 400 {
        respond::advise(&mut out, ctx);
    }
    // A client that is gone changes nothing: the response is complete, paid for, and may be stored.
    let _ = match ctx.format.array {
        Some(_) => respond::finish_whole(client, out, &JsonArray::of_one(&response.body)).await,
        None => respond::finish_whole(client, out, &response.body).await,
    };
}

/// Stores a response; `cacheable` is its stored form if it was read already.
fn store(
    response: &SharedResponse,
    cacheable: Option<Result<CachedResponse, NotStored>>,
    cache: CacheSession,
) {
    if response.head.status == 200 {
        let read = |core: &Core| cacheable.unwrap_or_else(|| read_chat_completion(core, response));
        cache.store(response.head.target, read);
    }
}

fn show_mirror(
    core: &Core,
    response: &SharedResponse,
    mirror: Option<&mut Mirror>,
    ctx: &RequestContext,
) {
    if let Some(mirror) = mirror.filter(|_| response.head.status == 200) {
        mirror.served(read_chat_completion(core, response), ctx.timing.duration());
    }
}

fn read_chat_completion(
    core: &Core,
    response: &SharedResponse,
) -> Result<CachedResponse, NotStored> {
    let mut scratch = core.scratch.borrow_mut();
    CachedResponse::from_whole(&response.body, response.usage, &mut scratch)
}
