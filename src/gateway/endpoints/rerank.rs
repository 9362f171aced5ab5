//! Serves rerank requests, which order documents by how well they match a query. Request and response are forwarded
//! unchanged.

use crate::accounting::billing::BilledUsage;
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
use crate::protocols::request::request_shape::Shape;
use crate::protocols::rerank::{read_rerank, search_units};
use crate::protocols::usage;
use crate::runtime::buffer;
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
    let headers = &request.head.headers;
    let input = read_rerank(request.body, &mut core.scratch.borrow_mut())?;
    let route = find_model(snapshot, &input.model, caller, &mut ctx.route.model)?;
    ctx.stage_done(core, Stage::Read);
    let constraints = RouteConstraints::new(snapshot, caller, headers, &Shape::default())?;
    let scope = RequestScope::new(headers, &caller, route, constraints, ctx)?;
    let body = ClientBody {
        client_api: ctx.format.client_api,
        bytes: request.body,
        model_range: &input.model_range,
        usage_edit: None,
        streams: false,
    };
    // Without fallbacks: scores of another model cannot be compared with those of this one.
    let plan = AttemptPlan::new(UpstreamOperation::Rerank, body, scope);
    if let AttemptResult::Whole(response) =
        attempt_loop::run(core, &[route], &plan, client, ctx).await?
    {
        if (200..300).contains(&response.status) {
            let units = search_units(&response.body);
            let tokens = usage::in_response(&response.body);
            let tokens = tokens.filter(|usage| usage.prompt > 0);
            ctx.record_billed_usage(
                core,
                match (units, tokens) {
                    (Some(units), _) => BilledUsage::Searches(units),
                    (None, Some(usage)) => BilledUsage::Reported(usage),
                    (None, None) => BilledUsage::Unknown,
                },
            );
        }
        let mut out = buffer::take(512 + response.body.len());
        respond::begin_head(&mut out, response.status, ctx, client);
        out.extend_from_slice(&response.head.forwarded);
        if response.status >= 400 {
            respond::advise(&mut out, ctx);
        }
        let _ = respond::finish_whole(client, out, &response.body).await;
        buffer::give(response.body);
    }
    Ok(())
}
