//! The trip of a request that asks how many tokens a chat has: passed on to a provider that speaks the
//! same dialect. Ringside does not guess; a provider that cannot count refuses by name.

use crate::auth::keys::Caller;
use crate::error::GatewayError;
use crate::gateway::attempt::attempt_loop;
use crate::gateway::attempt::attempt_loop::{AttemptPlan, AttemptResult};
use crate::gateway::context::request_context::RequestContext;
use crate::gateway::core::Core;
use crate::gateway::plan::candidates::RouteConstraints;
use crate::gateway::plan::deadline::RequestDeadline;
use crate::gateway::plan::forward_headers;
use crate::gateway::plan::request_plan::find_model;
use crate::gateway::respond;
use crate::gateway::snapshot::Snapshot;
use crate::observability::metrics::core_metrics::Stage;
use crate::protocols::provider_api::UpstreamOperation;
use crate::server::client::Client;
use crate::server::connection::Request;

/// Serves the request.
///
/// # Errors
/// What the client is told.
pub(crate) async fn serve(
    core: &Core,
    snapshot: &Snapshot,
    request: &Request<'_>,
    grant: Caller<'_>,
    client: &mut Client,
    trip: &mut RequestContext,
) -> Result<(), GatewayError> {
    let (headers, face) = (&request.head.headers, trip.face);
    let asked = {
        let mut scratch = core.scratch.borrow_mut();
        face.read_head(request.head.target, request.body, &mut scratch, false)?
    };
    let route = find_model(snapshot, &asked.model, grant, &mut trip.model)?;
    trip.stage_done(core, Stage::Read);
    let plan = AttemptPlan {
        call: UpstreamOperation::CountTokens,
        face,
        body: request.body,
        model_range: &asked.model_range,
        usage_edit: None,
        streams: false,
        passed_headers: forward_headers::passed_headers(headers, face, &trip.request_id),
        asker: attempt_loop::asker(headers, trip.key),
        patience: RequestDeadline::new(headers, route, trip.started_at)?,
        fallbacks: attempt_loop::Fallbacks::default(),
        steer: RouteConstraints::new(snapshot, grant, headers, &asked.shape)?,
        may_hedge: false,
        priority: grant.priority,
    };
    if let AttemptResult::Whole(answer) =
        attempt_loop::run(core, &[route], &plan, client, trip).await?
    {
        respond::passed_on(client, trip, answer).await;
    }
    Ok(())
}
