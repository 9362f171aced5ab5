//! The trip of a request that is passed on by the model in its body: completions, moderations, images, audio.
//! Routed and failed over as a chat is; no cache, no translation.

use crate::accounting::billing::BilledUsage;
use crate::auth::keys::Caller;
use crate::error::gateway_error::GatewayError;
use crate::gateway::attempt::attempt_loop;
use crate::gateway::attempt::attempt_plan::{AttemptPlan, ClientBody, RequestScope};
use crate::gateway::attempt::response::{AttemptResult, BufferedResponse, StreamingResponse};
use crate::gateway::context::request_context::RequestContext;
use crate::gateway::core::Core;
use crate::gateway::plan::candidates::RouteConstraints;
use crate::gateway::plan::request_plan::find_model;
use crate::gateway::respond;
use crate::gateway::snapshot::snapshot::Snapshot;
use crate::gateway::streaming::raw_body::{BodyStart, RawBodyRelay};
use crate::gateway::streaming::stream_end::StreamEnd;
use crate::gateway::streaming::stream_response;
use crate::headers;
use crate::observability::metrics::requests::Stage;
use crate::protocols::outgoing_request::UpstreamOperation;
use crate::protocols::passthrough;
use crate::protocols::passthrough::{Endpoint, usage_in};
use crate::protocols::request::request_shape::Shape;
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
    caller: Caller<'_>,
    client: &mut Client,
    ctx: &mut RequestContext,
) -> Result<(), GatewayError> {
    let headers = &request.head.headers;
    let kind = headers::CONTENT_TYPE.read_str(headers);
    let asked = passthrough::read(endpoint, kind, request.body, &mut core.scratch.borrow_mut())?;
    let route = find_model(snapshot, &asked.model, caller, &mut ctx.route.model)?;
    ctx.format.streams = asked.streams;
    ctx.stage_done(core, Stage::Read);
    let constraints = RouteConstraints::new(snapshot, caller, headers, &Shape::default())?;
    let mut scope = RequestScope::new(headers, &caller, route, constraints, ctx)?;
    let content_type = kind.unwrap_or("application/json");
    scope
        .forwarded_headers
        .add(headers::CONTENT_TYPE, content_type);
    let body = ClientBody {
        client_api: ctx.format.client_api,
        bytes: request.body,
        model_range: &asked.model_range,
        usage_edit: asked.usage_edit.as_ref(),
        streams: asked.streams,
    };
    let plan = AttemptPlan::new(UpstreamOperation::Passthrough(endpoint.path), body, scope);
    match attempt_loop::run(core, &[route], &plan, client, ctx).await? {
        AttemptResult::Whole(response) => whole(core, response, client, ctx).await,
        AttemptResult::Stream(response) => {
            let is_completion = asked.streams && endpoint == passthrough::COMPLETIONS;
            let raw_body = match is_completion && response.upstream_response.head.is_event_stream {
                true => RawBodyRelay::of_events(asked.wants_usage),
                false => RawBodyRelay::raw(),
            };
            stream(core, *response, raw_body, client, ctx).await;
        }
    }
    Ok(())
}

async fn whole(
    core: &Core,
    response: BufferedResponse,
    client: &mut Client,
    ctx: &mut RequestContext,
) {
    if (200..300).contains(&response.status) {
        let usage = usage_in(&response.body);
        ctx.record_billed_usage(
            core,
            usage.map_or(BilledUsage::Unknown, BilledUsage::Reported),
        );
    }
    respond::passed_on(client, ctx, response).await;
}

async fn stream(
    core: &Core,
    mut response: StreamingResponse,
    mut raw_body: RawBodyRelay,
    client: &mut Client,
    ctx: &mut RequestContext,
) {
    let head = stream_response::begin(
        response.upstream_response.status,
        &response.upstream_response.head.forwarded,
        client,
        ctx,
    );
    let arrived = BodyStart {
        bytes: std::mem::take(&mut response.first),
        is_done: response.is_done,
        head,
    };
    let timeout = response.backend.endpoint.timeouts.read;
    let end = raw_body
        .pump(
            &core.scratch,
            &mut response.upstream_response,
            timeout,
            arrived,
            client,
        )
        .await;
    ctx.record_billed_usage(core, raw_body.billed_usage());
    let comparison = match end {
        StreamEnd::Complete => Outcome::Good,
        StreamEnd::Upstream(_) => Outcome::StreamBroke,
        _ => Outcome::Abandoned,
    };
    response.attempt_guard.end(core, comparison);
    if matches!(end, StreamEnd::Complete) {
        response
            .upstream_response
            .finish(&response.backend.endpoint, &core.pool);
    }
    raw_body.conclude(core, end, client, ctx).await;
}
