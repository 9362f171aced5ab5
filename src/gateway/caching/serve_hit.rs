//! Serving an answer from the cache, in the client's dialect.

use crate::accounting::billing::BilledUsage;
use crate::cache::response::replay;
use crate::error::gateway_error::GatewayError;
use crate::gateway::caching::lookup::Hit;
use crate::gateway::context::request_context::RequestContext;
use crate::gateway::core::Core;
use crate::gateway::respond;
use crate::gateway::streaming::json_array::JsonArray;
use crate::headers;
use crate::protocols::registry;
use crate::protocols::request::chat_request::ChatRequest;
use crate::runtime::buffer;
use crate::server::client::Client;

const EVENTS: &[u8] = b"text/event-stream; charset=utf-8";

/// Serves a hit, streamed or whole as asked.
///
/// # Errors
/// None; the signature fits the trip.
pub(crate) async fn hit(
    core: &Core,
    found: &Hit,
    chat: &ChatRequest,
    client: &mut Client,
    ctx: &mut RequestContext,
) -> Result<(), GatewayError> {
    let entry = &found.entry;
    ctx.route.target = Some(entry.target);
    ctx.record_billed_usage(core, BilledUsage::Saved(entry.response.usage));
    if !chat.stream {
        let body = match ctx.format.client_api == registry::DEFAULT {
            true => entry.response.render_whole(),
            false => replay::whole(
                &entry.response,
                ctx.format.client_api,
                &ctx.response_ctx(true),
            ),
        };
        let _ = respond::whole(client, ctx, 200, "application/json", &body).await;
        return Ok(());
    }
    let body = match ctx.format.client_api == registry::DEFAULT {
        true => entry.response.render_stream(chat.wants_usage),
        false => replay::stream(
            &entry.response,
            ctx.format.client_api,
            ctx.response_ctx(true),
        ),
    };
    let (body, kind) = match ctx.format.array {
        Some(_) => (JsonArray::of_events(body), JsonArray::TYPE),
        None => (body, EVENTS),
    };
    let mut out = buffer::take(512 + body.len());
    respond::begin_head(&mut out, 200, ctx, client);
    headers::CONTENT_TYPE.write(&mut out, kind);
    headers::CACHE_CONTROL.write(&mut out, b"no-cache");
    // The length is known: no need for chunks.
    let _ = respond::finish_whole(client, out, &body).await;
    Ok(())
}
