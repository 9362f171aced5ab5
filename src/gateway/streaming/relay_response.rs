//! Moving the answer to the client, settling it, and handing it to the cache.

use crate::accounting::billing::BilledUsage;
use crate::cache::coalesce::shared_call::{End, Follower, Head, SharedResponse};
use crate::cache::coalesce::shared_calls::Leader;
use crate::cache::response::cached_response::CachedResponse;
use crate::error::GatewayError;
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
use crate::http::encode;
use crate::observability::metrics::core_metrics::count;
use crate::protocols::client_api;
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
    answer: BufferedResponse,
    mut cache: CacheSession,
    lead: Option<Leader>,
    client: &mut Client,
    trip: &mut RequestContext,
) {
    let (usage, mut read) = match trip.face == client_api::DEFAULT {
        true => (usage::in_answer(&answer.body), None),
        false => {
            let mut scratch = core.scratch.borrow_mut();
            let read =
                translate_body::read_own(trip.face, answer.status, &answer.body, &mut scratch);
            (read.usage, Some(read.stored))
        }
    };
    if (200..300).contains(&answer.status) {
        trip.buy(
            core,
            usage.map_or(BilledUsage::Unknown, BilledUsage::Reported),
        );
    }
    let answer = SharedResponse {
        usage,
        may_retry: classify::outcome_of(answer.status, None) != Outcome::Good,
        head: Head {
            target: answer.target,
            status: answer.status,
            passed: answer.head.passed,
        },
        body: answer.body,
    };
    let Some(lead) = lead else {
        send_whole(&answer, client, trip).await;
        mirroring::served_whole(core, &answer, trip);
        store_whole(&answer, read.take(), &mut cache);
        return buffer::give(answer.body);
    };
    // Those who follow do not wait for this client.
    let answer = Arc::new(answer);
    lead.finish(End::Whole(Arc::clone(&answer)));
    send_whole(&answer, client, trip).await;
    mirroring::served_whole(core, &answer, trip);
    store_whole(&answer, read.take(), &mut cache);
    // From here on the store answers.
    client.company = None;
    drop(lead);
    if let Some(answer) = Arc::into_inner(answer) {
        buffer::give(answer.body);
    }
}

/// Sends a whole answer.
pub(crate) async fn send_whole(
    answer: &SharedResponse,
    client: &mut Client,
    trip: &mut RequestContext,
) {
    let head = &answer.head;
    let mut out = buffer::take(512 + answer.body.len());
    respond::begin_head(&mut out, head.status, trip, client);
    respond::append_passed(&mut out, &head.passed, trip);
    if head.status >= 400 {
        respond::advise(&mut out, trip);
    }
    // A client that is gone changes nothing: the answer is complete, paid for, and worth storing.
    let _ = match trip.array {
        Some(_) => respond::finish_whole(client, out, &JsonArray::of_one(&answer.body)).await,
        None => respond::finish_whole(client, out, &answer.body).await,
    };
}

/// Stores it; it was read already if it is not in OpenAI's dialect.
fn store_whole(
    answer: &SharedResponse,
    read: Option<Result<CachedResponse, &'static str>>,
    cache: &mut CacheSession,
) {
    if answer.head.status == 200 {
        cache.store(answer.head.target, |core| match read {
            Some(read) => read,
            None => {
                let mut scratch = core.scratch.borrow_mut();
                CachedResponse::from_whole(&answer.body, answer.usage, &mut scratch)
            }
        });
    }
}

/// Relays a stream to the client that caused it.
pub(crate) async fn stream(
    core: &Core,
    mut inflow: UpstreamStream,
    client: &mut Client,
    trip: &mut RequestContext,
) {
    if let Some(time) = trip.first_byte {
        let mut metrics = core.metrics.borrow_mut();
        metrics.time_to_first_token(inflow.target(), time);
    }
    inflow.mirrored = trip.mirror.as_mut().and_then(|mirror| mirror.take_reader());
    let out = begin_stream(inflow.head(), client, trip);
    let end = match pump(inflow, out, client, trip).await {
        Pumped::Ended(end, mut inflow) => {
            mirroring::served_stream(inflow.mirrored.take(), &end, trip);
            core.metrics.borrow_mut().events += inflow.relay.events();
            trip.buy(core, inflow.bought());
            trip.array = inflow.relay.array();
            inflow.finish(&end, client).await;
            end
        }
        Pumped::Joined { seat, relay, sent } => {
            client.company = None;
            // On the heap: rare.
            let listening = on_heap(|| coalesce::listen(core, &seat, relay, sent, client));
            let (end, usage) = listening.await;
            if let Some(usage) = seat.settle(usage) {
                trip.buy(
                    core,
                    usage.map_or(BilledUsage::Unknown, BilledUsage::Reported),
                );
            }
            end
        }
    };
    conclude(core, end, client, trip).await;
}

/// The head of a stream's answer, up to its first event.
pub(crate) fn begin_stream(
    (status, passed): (u16, &[u8]),
    client: &mut Client,
    trip: &mut RequestContext,
) -> Vec<u8> {
    let mut out = buffer::take(buffer::CLASS_BYTES[0]);
    respond::begin_head(&mut out, status, trip, client);
    respond::append_passed(&mut out, passed, trip);
    encode::header(&mut out, "cache-control", b"no-cache");
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
        seat: Follower,
        relay: Relay,
        /// What became of the last write.
        sent: Written,
    },
}

/// Moves events until the stream ends; the first write carries the head.
async fn pump(
    mut inflow: UpstreamStream,
    mut out: Vec<u8>,
    client: &mut Client,
    trip: &RequestContext,
) -> Pumped {
    loop {
        inflow.take_in(!client.is_http10, &mut out);
        let ended = inflow.ended();
        if !out.is_empty() {
            let mut write = pin!(client.write(out));
            let at_once = poll_fn(|cx| match write.as_mut().poll(cx) {
                Poll::Ready(sent) => Poll::Ready(Some(sent)),
                Poll::Pending => inflow.poll_company(cx).map(|()| None),
            });
            out = match at_once.await {
                Some((Ok(()), buffer)) => buffer,
                Some((Err(_), _)) if inflow.close_if_alone() => {
                    return Pumped::Ended(StreamEnd::Client, inflow);
                }
                // Those who follow do not wait for this client.
                waits_or_gone => {
                    let (seat, relay) = match inflow.detach(trip) {
                        Ok(follower) => follower,
                        Err(inflow) => return Pumped::Ended(StreamEnd::Client, inflow),
                    };
                    let sent = match waits_or_gone {
                        Some(sent) => sent,
                        None => write.await,
                    };
                    return Pumped::Joined { seat, relay, sent };
                }
            };
            out.clear();
        }
        if let Some(end) = ended {
            buffer::give(out);
            return Pumped::Ended(end, inflow);
        }
        if let Err(end) = inflow.read(client).await {
            return Pumped::Ended(end, inflow);
        }
    }
}

/// Tells a client how its stream ended, unless that was well.
pub(crate) async fn conclude(
    core: &Core,
    end: StreamEnd,
    client: &mut Client,
    trip: &mut RequestContext,
) {
    let (side, fault) = match end {
        StreamEnd::Complete => return,
        StreamEnd::Client => {
            client.keep_alive = false;
            trip.fault = Some("client_gone");
            count(&mut core.metrics.borrow_mut().streams_broken, "client");
            return;
        }
        StreamEnd::TooSlow(fault) => ("client", fault),
        StreamEnd::Upstream(fault) => ("upstream", fault),
        StreamEnd::Drained => ("drain", stopping()),
    };
    trip.fault = Some(fault.code);
    count(&mut core.metrics.borrow_mut().streams_broken, side);
    break_stream(trip, client, &fault).await;
}

/// Tells the client that its stream is not complete, and closes the connection.
async fn break_stream(trip: &mut RequestContext, client: &mut Client, fault: &GatewayError) {
    client.keep_alive = false;
    let mut event = Vec::with_capacity(256);
    trip.face.write_fault_event(fault, &mut event);
    if let Some(array) = &mut trip.array {
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
