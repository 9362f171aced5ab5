//! The trip of a request that is passed on by the model in its body: completions, moderations, images, audio.
//! Routed and failed over as a chat is; no cache, no translation.

use crate::accounting::billing::BilledUsage;
use crate::auth::keys::Caller;
use crate::error::GatewayError;
use crate::gateway::attempt::attempt_loop;
use crate::gateway::attempt::attempt_loop::{
    AttemptPlan, AttemptResult, BufferedResponse, StreamingResponse,
};
use crate::gateway::context::request_context::RequestContext;
use crate::gateway::core::Core;
use crate::gateway::plan::candidates::RouteConstraints;
use crate::gateway::plan::deadline::RequestDeadline;
use crate::gateway::plan::forward_headers;
use crate::gateway::plan::request_plan::find_model;
use crate::gateway::respond;
use crate::gateway::snapshot::Snapshot;
use crate::gateway::streaming::raw_body::{Arrived, RawBodyRelay};
use crate::gateway::streaming::relay_response;
use crate::gateway::streaming::upstream_stream::StreamEnd;
use crate::observability::metrics::core_metrics::Stage;
use crate::protocols::passthrough;
use crate::protocols::passthrough::{Endpoint, usage_in};
use crate::protocols::provider_api::UpstreamOperation;
use crate::protocols::shape::Shape;
use crate::routing::health::Outcome;
use crate::server::client::Client;
use crate::server::connection::Request;

/// Serves the request.
///
/// # Errors
/// What the client is told.
pub(crate) async fn serve(
    core: &Core,
    snapshot: &Snapshot,
    (request, endpoint): (&Request<'_>, Endpoint),
    grant: Caller<'_>,
    client: &mut Client,
    trip: &mut RequestContext,
) -> Result<(), GatewayError> {
    let headers = &request.head.headers;
    let kind = headers.get_str("content-type");
    let asked = passthrough::read(endpoint, kind, request.body, &mut core.scratch.borrow_mut())?;
    let route = find_model(snapshot, &asked.model, grant, &mut trip.model)?;
    trip.stream = asked.streams;
    trip.stage_done(core, Stage::Read);
    let mut passed_headers = forward_headers::passed_headers(headers, trip.face, &trip.request_id);
    passed_headers.add("content-type", kind.unwrap_or("application/json"));
    let plan = AttemptPlan {
        call: UpstreamOperation::Passed(endpoint.path),
        face: trip.face,
        body: request.body,
        model_range: &asked.model_range,
        usage_edit: asked.usage_edit.as_ref(),
        streams: asked.streams,
        passed_headers,
        asker: attempt_loop::asker(headers, trip.key),
        patience: RequestDeadline::new(headers, route, trip.started_at)?,
        may_hedge: false,
        fallbacks: attempt_loop::Fallbacks::default(),
        steer: RouteConstraints::new(snapshot, grant, headers, &Shape::default())?,
        priority: grant.priority,
    };
    match attempt_loop::run(core, &[route], &plan, client, trip).await? {
        AttemptResult::Whole(answer) => whole(core, answer, client, trip).await,
        AttemptResult::Stream(answer) => {
            let is_completion = asked.streams && endpoint == passthrough::COMPLETIONS;
            let passage = match is_completion && answer.reply.head.is_event_stream {
                true => RawBodyRelay::of_events(asked.wants_usage),
                false => RawBodyRelay::raw(),
            };
            stream(core, *answer, passage, client, trip).await;
        }
    }
    Ok(())
}

async fn whole(
    core: &Core,
    answer: BufferedResponse,
    client: &mut Client,
    trip: &mut RequestContext,
) {
    if (200..300).contains(&answer.status) {
        let usage = usage_in(&answer.body);
        trip.buy(
            core,
            usage.map_or(BilledUsage::Unknown, BilledUsage::Reported),
        );
    }
    respond::passed_on(client, trip, answer).await;
}

async fn stream(
    core: &Core,
    mut answer: StreamingResponse,
    mut passage: RawBodyRelay,
    client: &mut Client,
    trip: &mut RequestContext,
) {
    let head = relay_response::begin_stream(
        (answer.reply.status, &answer.reply.head.passed),
        client,
        trip,
    );
    let arrived = Arrived {
        bytes: std::mem::take(&mut answer.first),
        is_done: answer.is_done,
        head,
    };
    let timeout = answer.site.endpoint.limits.read;
    let end = passage
        .pump(&core.scratch, &mut answer.reply, timeout, arrived, client)
        .await;
    trip.buy(core, passage.bought());
    let lesson = match end {
        StreamEnd::Complete => Outcome::Good,
        StreamEnd::Upstream(_) => Outcome::StreamBroke,
        _ => Outcome::Abandoned,
    };
    answer.underway.end(core, lesson);
    if matches!(end, StreamEnd::Complete) {
        answer.reply.finish(&answer.site.endpoint, &core.pool);
    }
    passage.conclude(core, end, client, trip).await;
}
