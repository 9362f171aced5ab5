//! Serves requests for the number of tokens of a chat: forwarded to a target that has the client's API. Ringside does
//! not estimate; a target that cannot count is named in the error.

use crate::error::gateway_error::GatewayError;
use crate::gateway::attempt::attempt_loop;
use crate::gateway::attempt::attempt_plan::{AttemptPlan, ClientBody, RequestScope};
use crate::gateway::attempt::response::AttemptResult;
use crate::gateway::context::request_context::RequestContext;
use crate::gateway::core::Core;
use crate::gateway::endpoints::authenticated_request::AuthenticatedRequest;
use crate::gateway::plan::candidates::RouteConstraints;
use crate::gateway::plan::request_plan::find_model;
use crate::gateway::respond;
use crate::observability::metrics::requests::Stage;
use crate::protocols::outgoing_request::UpstreamOperation;
use crate::server::client::Client;

/// # Errors
/// The request is invalid, or no target served it.
pub(crate) async fn serve(
    core: &Core,
    incoming: AuthenticatedRequest<'_>,
    client: &mut Client,
    ctx: &mut RequestContext,
) -> Result<(), GatewayError> {
    let AuthenticatedRequest {
        snapshot,
        request,
        caller,
    } = incoming;
    let (headers, client_api) = (&request.head.headers, ctx.format.client_api);
    let chat = {
        let mut scratch = core.scratch.borrow_mut();
        client_api.inspect_request(request.head.target, request.body, &mut scratch, false)?
    };
    let route = find_model(snapshot, &chat.model, caller, &mut ctx.route.model)?;
    ctx.stage_done(core, Stage::Read);
    let constraints = RouteConstraints::new(snapshot, caller, headers, &chat.shape)?;
    let scope = RequestScope::new(headers, &caller, route, constraints, ctx)?;
    let body = ClientBody {
        client_api,
        bytes: request.body,
        model_range: &chat.model_range,
        usage_edit: None,
        streams: false,
    };
    let plan = AttemptPlan::new(UpstreamOperation::CountTokens, body, scope);
    if let AttemptResult::Whole(response) =
        attempt_loop::run(core, &[route], &plan, client, ctx).await?
    {
        respond::forward(client, ctx, response).await;
    }
    Ok(())
}
