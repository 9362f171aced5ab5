//! Serves requests of which only the model is read: completions, moderations, images, audio. They are routed and failed
//! over like chat requests, but neither cached nor translated.

use crate::accounting::billing::BilledUsage;
use crate::error::gateway_error::GatewayError;
use crate::gateway::attempt::attempt_loop;
use crate::gateway::attempt::attempt_plan::{AttemptPlan, ClientBody, RequestScope};
use crate::gateway::attempt::response::{AttemptResult, BufferedResponse, StreamingResponse};
use crate::gateway::context::request_context::RequestContext;
use crate::gateway::core::Core;
use crate::gateway::endpoints::authenticated_request::AuthenticatedRequest;
use crate::gateway::plan::candidates::RouteConstraints;
use crate::gateway::plan::request_plan::find_model;
use crate::gateway::respond;
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

/// # Errors
/// The request is invalid, or no target served it.
pub(crate) async fn serve(
    core: &Core,
    incoming: AuthenticatedRequest<'_>,
    endpoint: Endpoint,
    client: &mut Client,
    ctx: &mut RequestContext,
) -> Result<(), GatewayError> {
    let AuthenticatedRequest {
        snapshot,
        request,
        caller,
    } = incoming;
    let headers = &request.head.headers;
    let media_type = headers::CONTENT_TYPE.read_str(headers);
    let input = passthrough::read(
        endpoint,
        media_type,
        request.body,
        &mut core.scratch.borrow_mut(),
    )?;
    let route = find_model(snapshot, &input.model, caller, &mut ctx.route.model)?;
    ctx.format.streams = input.streams;
    ctx.stage_done(core, Stage::Read);
    let constraints = RouteConstraints::new(snapshot, caller, headers, &Shape::default())?;
    let mut scope = RequestScope::new(headers, &caller, route, constraints, ctx)?;
    let content_type = media_type.unwrap_or("application/json");
    scope
        .forwarded_headers
        .add(headers::CONTENT_TYPE, content_type);
    let body = ClientBody {
        client_api: ctx.format.client_api,
        bytes: request.body,
        model_range: &input.model_range,
        usage_edit: input.usage_edit.as_ref(),
        streams: input.streams,
    };
    let plan = AttemptPlan::new(UpstreamOperation::Passthrough(endpoint.path), body, scope);
    match attempt_loop::run(core, &[route], &plan, client, ctx).await? {
        AttemptResult::Whole(response) => whole(core, response, client, ctx).await,
        AttemptResult::Stream(response) => {
            let is_completion = input.streams && endpoint == passthrough::COMPLETIONS;
            let head = &response.upstream_response.head;
            let is_readable = head.is_event_stream && !head.is_encoded;
            let raw_body = if is_completion && is_readable {
                RawBodyRelay::of_events(input.wants_usage)
            } else {
                RawBodyRelay::raw()
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
    respond::forward(client, ctx, response).await;
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
    let start = BodyStart {
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
            start,
            client,
        )
        .await;
    ctx.record_billed_usage(core, raw_body.billed_usage());
    let outcome = match end {
        StreamEnd::Complete => Outcome::Good,
        StreamEnd::Upstream(_) => Outcome::StreamBroke,
        _ => Outcome::Abandoned,
    };
    response.attempt_guard.end(core, outcome);
    if matches!(end, StreamEnd::Complete) {
        response
            .upstream_response
            .finish(&response.backend.endpoint, &core.pool);
    }
    raw_body.conclude(core, end, client, ctx).await;
}
