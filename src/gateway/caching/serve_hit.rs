//! Sends a response from the cache, in the client's format.

use crate::accounting::billing::BilledUsage;
use crate::cache::response::replay;
use crate::gateway::caching::hit::Hit;
use crate::gateway::context::request_context::RequestContext;
use crate::gateway::core::Core;
use crate::gateway::respond;
use crate::gateway::transform::json_array::JsonArray;
use crate::headers;
use crate::protocols::registry;
use crate::protocols::request::chat_request::ChatRequest;
use crate::runtime::buffer;
use crate::server::client::Client;

const EVENT_STREAM: &[u8] = b"text/event-stream; charset=utf-8";

/// Sends a hit as a stream or not, as the client wants it.
pub(crate) async fn serve_hit(
    core: &Core,
    hit: &Hit,
    chat: &ChatRequest,
    client: &mut Client,
    ctx: &mut RequestContext,
) {
    let (target, response) = (hit.entry.target, &hit.entry.response);
    let (client_api, is_openai) = {
        let client_api = ctx.format.client_api;
        (client_api, client_api == registry::DEFAULT)
    };
    ctx.route.target = Some(target);
    ctx.record_billed_usage(core, BilledUsage::Saved(response.usage));
    if !chat.stream {
        let body = if is_openai {
            response.render_whole()
        } else {
            replay::whole(response, client_api, &ctx.response_ctx(true))
        };
        // A client that is gone needs no response.
        let _ = respond::whole(client, ctx, 200, "application/json", &body).await;
        return;
    }
    let body = if is_openai {
        response.render_stream(chat.wants_usage)
    } else {
        replay::stream(response, client_api, ctx.response_ctx(true))
    };
    let (body, content_type) = match ctx.format.array {
        Some(_) => (JsonArray::of_events(body), JsonArray::TYPE),
        None => (body, EVENT_STREAM),
    };
    let mut out = buffer::take(512 + body.len());
    respond::begin_head(&mut out, 200, ctx, client);
    headers::CONTENT_TYPE.write(&mut out, content_type);
    headers::CACHE_CONTROL.write(&mut out, b"no-cache");
    // The length is known: the body needs no chunks.
    let _ = respond::finish_whole(client, out, &body).await;
}
