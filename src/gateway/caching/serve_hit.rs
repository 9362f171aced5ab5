//! Serving an answer from the cache, in the client's dialect.

use crate::accounting::billing::BilledUsage;
use crate::cache::response::replay;
use crate::error::GatewayError;
use crate::gateway::caching::lookup::Hit;
use crate::gateway::context::request_context::RequestContext;
use crate::gateway::core::Core;
use crate::gateway::respond;
use crate::gateway::streaming::json_array::JsonArray;
use crate::http::encode;
use crate::protocols::client_api;
use crate::protocols::openai::chat_head::ChatRequest;
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
    trip: &mut RequestContext,
) -> Result<(), GatewayError> {
    let entry = &found.entry;
    trip.target = Some(entry.target);
    trip.buy(core, BilledUsage::Saved(entry.answer.usage));
    if !chat.stream {
        let body = match trip.face == client_api::DEFAULT {
            true => entry.answer.render_whole(),
            false => replay::whole(&entry.answer, trip.face, &trip.about(true)),
        };
        let _ = respond::whole(client, trip, 200, "application/json", &body).await;
        return Ok(());
    }
    let body = match trip.face == client_api::DEFAULT {
        true => entry.answer.render_stream(chat.wants_usage),
        false => replay::stream(&entry.answer, trip.face, trip.about(true)),
    };
    let (body, kind) = match trip.array {
        Some(_) => (JsonArray::of_events(body), JsonArray::TYPE),
        None => (body, EVENTS),
    };
    let mut out = buffer::take(512 + body.len());
    respond::begin_head(&mut out, 200, trip, client);
    encode::header(&mut out, "content-type", kind);
    encode::header(&mut out, "cache-control", b"no-cache");
    // The length is known: no need for chunks.
    let _ = respond::finish_whole(client, out, &body).await;
    Ok(())
}
