//! Relays a stream to the client that caused it. When that client does not keep up and others follow, it becomes a
//! follower too, and the stream goes on without it.

use crate::accounting::billing::BilledUsage;
use crate::cache::coalesce::shared_call::OwnerUsage;
use crate::gateway::context::request_context::RequestContext;
use crate::gateway::core::Core;
use crate::gateway::experiments::mirroring::Mirror;
use crate::gateway::streaming::detached_stream;
use crate::gateway::streaming::detached_stream::DetachedClient;
use crate::gateway::streaming::event_writer::Framing;
use crate::gateway::streaming::shared_stream;
use crate::gateway::streaming::shared_stream::LastWrite;
use crate::gateway::streaming::stream_end::StreamEnd;
use crate::gateway::streaming::stream_response;
use crate::gateway::streaming::upstream_stream::UpstreamStream;
use crate::runtime::buffer;
use crate::runtime::heap::on_heap;
use crate::server::client::Client;
use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

pub(crate) async fn relay(
    core: &Core,
    stream: UpstreamStream,
    mirror: Option<&mut Mirror>,
    client: &mut Client,
    ctx: &mut RequestContext,
) {
    if let Some(time) = ctx.timing.first_byte {
        let mut metrics = core.metrics.borrow_mut();
        let seconds = &mut metrics.upstream.time_to_first_token_seconds;
        seconds.record(stream.target(), time.as_secs_f64());
    }
    let head = stream_response::begin(stream.status(), stream.forwarded_headers(), client, ctx);
    let end = match pump(stream, head, client, ctx).await {
        Pumped::Ended(end, mut stream) => {
            if let (Some(mirror), Some(reader), StreamEnd::Complete) =
                (mirror, stream.take_mirror_reader(), &end)
            {
                mirror.served(reader.finish(), ctx.timing.duration());
            }
            count_events(core, &stream);
            ctx.record_billed_usage(core, stream.billed_usage());
            ctx.format.array = stream.relay.array();
            stream.finish(&end, client).await;
            end
        }
        Pumped::Detached(detached, write) => {
            client.followers = None;
            // On the heap: rare.
            on_heap(|| follow_detached(core, detached, write, client, ctx)).await
        }
    };
    stream_response::conclude(core, end, client, ctx).await;
}

fn count_events(core: &Core, stream: &UpstreamStream) {
    let events = &mut core.metrics.borrow_mut().requests.stream_events;
    events.add(stream.relay.events());
}

async fn follow_detached(
    core: &Core,
    detached: DetachedClient,
    write: LastWrite,
    client: &mut Client,
    ctx: &mut RequestContext,
) -> StreamEnd {
    let DetachedClient { follower, relay } = detached;
    let (end, usage) = shared_stream::follow(core, &follower, relay, write, client).await;
    if let OwnerUsage::Record(usage) = follower.leave_as_owner(usage) {
        let billed = usage.map_or(BilledUsage::Unknown, BilledUsage::Reported);
        ctx.record_billed_usage(core, billed);
    }
    end
}

/// How far the client's own connection moved a stream.
#[allow(clippy::large_enum_variant, reason = "one per stream")]
enum Pumped {
    /// To its end.
    Ended(StreamEnd, UpstreamStream),
    /// Until the client did not keep up: the stream goes on by itself.
    Detached(DetachedClient, LastWrite),
}

/// Moves events until the stream ends; the first write carries the head.
async fn pump(
    mut stream: UpstreamStream,
    mut out: Vec<u8>,
    client: &mut Client,
    ctx: &RequestContext,
) -> Pumped {
    let framing = Framing::of(client);
    loop {
        stream.take_in(framing, &mut out);
        let ended = stream.ended();
        if !out.is_empty() {
            let mut write = pin!(client.write(out));
            let written_at_once = poll_fn(|cx| match write.as_mut().poll(cx) {
                Poll::Ready(written) => Poll::Ready(Some(written)),
                Poll::Pending => stream.poll_has_followers(cx).map(|()| None),
            });
            out = match written_at_once.await {
                Some((Ok(()), buffer)) => buffer,
                Some((Err(_), _)) if stream.close_if_no_followers() => {
                    return Pumped::Ended(StreamEnd::ClientGone, stream);
                }
                // Followers do not wait for this client.
                slow_or_gone => {
                    let detached = match detached_stream::detach(stream, ctx) {
                        Ok(detached) => detached,
                        Err(stream) => return Pumped::Ended(StreamEnd::ClientGone, stream),
                    };
                    let (sent, buffer) = match slow_or_gone {
                        Some(written) => written,
                        None => write.await,
                    };
                    return Pumped::Detached(detached, LastWrite { sent, buffer });
                }
            };
            out.clear();
        }
        if let Some(end) = ended {
            buffer::give(out);
            return Pumped::Ended(end, stream);
        }
        if let Err(end) = stream.read(client).await {
            return Pumped::Ended(end, stream);
        }
    }
}
