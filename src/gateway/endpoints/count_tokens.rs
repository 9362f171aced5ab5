//! The trip of a request that asks how many tokens a chat has: passed on to a provider that speaks the
//! same dialect. Ringside does not guess; a provider that cannot count refuses by name.

use crate::auth::keys::Caller;
use crate::error::gateway_error::GatewayError;
use crate::gateway::attempt::attempt_loop;
use crate::gateway::attempt::attempt_plan::{AttemptPlan, ClientBody, RequestScope};
use crate::gateway::attempt::response::AttemptResult;
use crate::gateway::context::request_context::RequestContext;
use crate::gateway::core::Core;
use crate::gateway::plan::candidates::RouteConstraints;
use crate::gateway::plan::request_plan::find_model;
use crate::gateway::respond;
use crate::gateway::snapshot::snapshot::Snapshot;
use crate::observability::metrics::requests::Stage;
use crate::protocols::outgoing_request::UpstreamOperation;
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
    caller: Caller<'_>,
    client: &mut Client,
    ctx: &mut RequestContext,
) -> Result<(), GatewayError> {
    let (headers, client_api) = (&request.head.headers, ctx.format.client_api);
    let asked = {
        let mut scratch = core.scratch.borrow_mut();
        client_api.inspect_request(request.head.target, request.body, &mut scratch, false)?
    };
    let route = find_model(snapshot, &asked.model, caller, &mut ctx.route.model)?;
    ctx.stage_done(core, Stage::Read);
    let constraints = RouteConstraints::new(snapshot, caller, headers, &asked.shape)?;
    let scope = RequestScope::new(headers, &caller, route, constraints, ctx)?;
    let body = ClientBody {
        client_api,
        bytes: request.body,
        model_range: &asked.model_range,
        usage_edit: None,
        streams: false,
    };
    let plan = AttemptPlan::new(UpstreamOperation::CountTokens, body, scope);
    if let AttemptResult::Whole(response) =
        attempt_loop::run(core, &[route], &plan, client, ctx).await?
    {
        respond::passed_on(client, ctx, response).await;
    }
    Ok(())
}
