//! The head and the end of a streamed response, whatever its stream comes from.

use crate::error::code::ErrorCode;
use crate::error::gateway_error::GatewayError;
use crate::gateway::context::request_context::RequestContext;
use crate::gateway::core::Core;
use crate::gateway::respond;
use crate::gateway::streaming::stream_end::{StreamEnd, shutting_down};
use crate::headers;
use crate::http::encode;
use crate::observability::metrics::requests::BrokenSide;
use crate::runtime::buffer;
use crate::server::client::Client;

/// The head of a streamed response, up to its first event. `forwarded` are encoded header lines of the provider.
pub(crate) fn begin(
    status: u16,
    forwarded: &[u8],
    client: &mut Client,
    ctx: &mut RequestContext,
) -> Vec<u8> {
    let mut out = buffer::take(buffer::CLASS_BYTES[0]);
    respond::begin_head(&mut out, status, ctx, client);
    respond::append_forwarded(&mut out, forwarded, ctx);
    headers::CACHE_CONTROL.write(&mut out, b"no-cache");
    if client.is_http10 {
        client.keep_alive = false;
    } else {
        encode::chunked(&mut out);
    }
    encode::end_head(&mut out);
    out
}

/// Reports to the client how its stream ended, unless it is complete, and counts it.
pub(crate) async fn conclude(
    core: &Core,
    end: StreamEnd,
    client: &mut Client,
    ctx: &mut RequestContext,
) {
    let Some((side, error)) = note_end(core, end, client, ctx) else {
        return;
    };
    count_broken(core, side);
    send_error_event(&error, client, ctx).await;
}

/// The side that broke the stream, and the error to report; `None` when nothing can or need be reported.
fn note_end(
    core: &Core,
    end: StreamEnd,
    client: &mut Client,
    ctx: &mut RequestContext,
) -> Option<(BrokenSide, GatewayError)> {
    let (side, error) = match end {
        StreamEnd::Complete => return None,
        StreamEnd::ClientGone => {
            client.keep_alive = false;
            ctx.outcome.failed(ErrorCode::ClientDisconnected);
            count_broken(core, BrokenSide::Client);
            return None;
        }
        StreamEnd::TooSlow(error) => (BrokenSide::Client, error),
        StreamEnd::Upstream(error) => (BrokenSide::Upstream, error),
        StreamEnd::Drained => (BrokenSide::Drain, shutting_down()),
    };
    client.keep_alive = false;
    ctx.outcome.failed(error.code);
    Some((side, error))
}

/// The same for a body that cannot say that it broke: its connection is closed before its end.
pub(crate) fn conclude_silently(
    core: &Core,
    end: StreamEnd,
    client: &mut Client,
    ctx: &mut RequestContext,
) {
    if let Some((side, _)) = note_end(core, end, client, ctx) {
        count_broken(core, side);
    }
}

fn count_broken(core: &Core, side: BrokenSide) {
    let broken = &mut core.metrics.borrow_mut().requests.streams_broken;
    broken.increment(side);
}

/// Sends an error as the last event, and closes the connection.
async fn send_error_event(error: &GatewayError, client: &mut Client, ctx: &mut RequestContext) {
    let mut event = Vec::with_capacity(256);
    ctx.format.client_api.write_error_event(error, &mut event);
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
    // A client that is gone needs no event.
    let _ = client.write(out).await;
}
