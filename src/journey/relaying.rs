//! Moving the answer to the client, settling it, and handing it to the cache.

use super::attempt::{StreamAnswer, WholeAnswer};
use super::caching::CacheTrip;
use super::core::Core;
use super::reply;
use super::trip::Trip;
use crate::accounting::Bought;
use crate::api::usage;
use crate::cache::Answer;
use crate::error::Fault;
use crate::http::encode;
use crate::listener::Client;
use crate::relay::StreamRelay;
use crate::relay::stream::write_error_event;
use crate::routing::health::Outcome;
use crate::runtime::io::Interruption;
use crate::runtime::{buffer, clock};
use crate::telemetry::metrics::count;
use crate::upstream::exchange::{BodyFault, Piece};
use std::time::Duration;

/// How long the end of a body is waited for once `[DONE]` was relayed, so that the connection can be reused.
const TAIL: Duration = Duration::from_millis(200);

/// Relays a whole answer.
pub async fn whole(
    answer: WholeAnswer,
    cache: &mut CacheTrip<'_>,
    client: &mut Client,
    trip: &mut Trip,
) {
    let mut out = buffer::take(512 + answer.body.len());
    reply::begin_head(&mut out, answer.status, trip, client);
    out.extend_from_slice(&answer.head.passed);
    if answer.status >= 400 {
        reply::advise(&mut out, trip);
    }
    // A client that is gone changes nothing: the answer is complete, paid for, and worth storing.
    let _ = reply::finish_whole(client, out, &answer.body).await;
    let usage = usage::in_answer(&answer.body);
    if (200..300).contains(&answer.status) {
        trip.bought = usage.map_or(Bought::Unknown, Bought::Reported);
    }
    if answer.status == 200 {
        cache.store(answer.target, |core| {
            Answer::from_whole(&answer.body, usage, &mut core.scratch.borrow_mut())
        });
    }
    buffer::give(answer.body);
}

/// How a stream ended.
enum StreamEnd {
    /// All of it was relayed.
    Complete,
    /// The client is gone.
    Client,
    /// The provider broke off; what the client is told.
    Upstream(Fault),
    /// The process stops.
    Drained,
}

/// Relays a stream.
pub async fn stream(
    core: &Core,
    mut answer: Box<StreamAnswer>,
    shows_usage: bool,
    cache: &mut CacheTrip<'_>,
    client: &mut Client,
    trip: &mut Trip,
) {
    if let Some(time) = trip.first_byte {
        let mut metrics = core.metrics.borrow_mut();
        metrics.time_to_first_token(answer.target, time);
    }
    let mut relay = StreamRelay::new(shows_usage);
    let mut reader = cache.stream_reader();
    let mut out = buffer::take(buffer::CLASS_BYTES[0]);
    reply::begin_head(&mut out, answer.reply.status, trip, client);
    out.extend_from_slice(&answer.reply.head.passed);
    encode::header(&mut out, "cache-control", b"no-cache");
    if client.is_http10 {
        client.keep_alive = false;
    } else {
        encode::chunked(&mut out);
    }
    encode::end_head(&mut out);
    let mut watch = |event: &[u8]| {
        if let Some(reader) = &mut reader {
            reader.event(event, &mut core.scratch.borrow_mut());
        }
    };
    let end = pump(&mut answer, &mut relay, &mut watch, out, client).await;
    core.metrics.borrow_mut().events += relay.events();
    trip.bought = relay.usage().map_or(Bought::Unknown, Bought::Reported);
    let target = answer.target;
    let lesson = match &end {
        StreamEnd::Complete if relay.has_failed() => Outcome::StreamBroke,
        StreamEnd::Complete => Outcome::Good,
        StreamEnd::Upstream(_) => Outcome::StreamBroke,
        StreamEnd::Client | StreamEnd::Drained => Outcome::Abandoned,
    };
    answer.underway.end(core, lesson);
    match end {
        StreamEnd::Complete => {
            finish_upstream(core, *answer, client).await;
            if let Some(reader) = reader {
                cache.store(target, |_| reader.finish());
            }
        }
        StreamEnd::Client => {
            client.keep_alive = false;
            trip.fault = Some("client_gone");
            count(&mut core.metrics.borrow_mut().streams_broken, "client");
        }
        StreamEnd::Upstream(fault) => {
            trip.fault = Some(fault.code);
            count(&mut core.metrics.borrow_mut().streams_broken, "upstream");
            break_stream(client, &fault).await;
        }
        StreamEnd::Drained => {
            trip.fault = Some("shutting_down");
            count(&mut core.metrics.borrow_mut().streams_broken, "drain");
            let fault = Fault::gateway(
                503,
                "shutting_down",
                "the gateway is stopping; the stream is not complete",
            );
            break_stream(client, &fault).await;
        }
    }
}

/// Moves events until the stream ends; the first write carries the head.
async fn pump(
    answer: &mut StreamAnswer,
    relay: &mut StreamRelay,
    watch: &mut impl FnMut(&[u8]),
    mut out: Vec<u8>,
    client: &mut Client,
) -> StreamEnd {
    let mut arrived = std::mem::take(&mut answer.first);
    let mut is_done = answer.is_done;
    loop {
        let fed = append_events(relay, watch, &mut arrived, is_done, client, &mut out);
        if !out.is_empty() {
            let (sent, buffer) = client.write(out).await;
            out = buffer;
            out.clear();
            if sent.is_err() {
                return StreamEnd::Client;
            }
        }
        if !fed {
            return StreamEnd::Upstream(Fault::upstream(
                502,
                "upstream_event_too_large",
                "the provider sent an event larger than the limit; the stream is not complete",
            ));
        }
        if is_done || relay.is_done() {
            buffer::give(out);
            buffer::give(arrived);
            return if relay.is_complete() || relay.has_failed() {
                StreamEnd::Complete
            } else {
                StreamEnd::Upstream(Fault::upstream(
                    502,
                    "upstream_truncated",
                    "the provider ended the stream without finishing its answer",
                ))
            };
        }
        let by = clock::recent() + answer.site.endpoint.limits.read;
        match answer.reply.read(&mut arrived, by, client).await {
            Ok(piece) => is_done = piece == Piece::Done,
            Err(BodyFault::Interrupted(Interruption::ClientGone)) => return StreamEnd::Client,
            Err(BodyFault::Interrupted(_)) => return StreamEnd::Drained,
            Err(fault @ (BodyFault::Broken(_) | BodyFault::Stalled)) => {
                let why = fault.why();
                return StreamEnd::Upstream(Fault::upstream(
                    502,
                    "upstream_broke_off",
                    format!("the provider broke off in the middle of the stream ({why})"),
                ));
            }
        }
    }
}

/// Appends what arrived as one chunk, and the end of the body when the stream is over. False when an
/// event is too large.
fn append_events(
    relay: &mut StreamRelay,
    watch: &mut impl FnMut(&[u8]),
    arrived: &mut Vec<u8>,
    is_last: bool,
    client: &Client,
    out: &mut Vec<u8>,
) -> bool {
    let chunked = !client.is_http10;
    let mark = chunked.then(|| encode::begin_chunk(out));
    let fed = relay.feed(arrived, out, &mut *watch).is_ok();
    if is_last {
        relay.end(out, watch);
    }
    if let Some(mark) = mark {
        encode::finish_chunk(out, mark);
    }
    let is_over = relay.is_done() || (is_last && (relay.is_complete() || relay.has_failed()));
    if chunked && fed && is_over {
        encode::last_chunk(out);
    }
    fed
}

/// Tells the client that its stream is not complete, and closes the connection.
async fn break_stream(client: &mut Client, fault: &Fault) {
    client.keep_alive = false;
    let mut event = Vec::with_capacity(256);
    write_error_event(&mut event, fault);
    let mut out = Vec::with_capacity(event.len() + 32);
    if client.is_http10 {
        out = event;
    } else {
        encode::chunk(&mut out, &event);
        encode::last_chunk(&mut out);
    }
    let _ = client.write(out).await;
}

/// Reads the little that may follow `[DONE]`, so that the connection can be reused.
async fn finish_upstream(core: &Core, mut answer: StreamAnswer, client: &mut Client) {
    if !answer.is_done {
        let mut rest = Vec::new();
        let by = clock::now() + TAIL;
        let _ = answer.reply.read(&mut rest, by, client).await;
    }
    answer.reply.finish(&answer.site.endpoint, &core.pool);
}
