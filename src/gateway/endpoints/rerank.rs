//! The trip of a rerank: documents put into order by how well they answer a query. Passed on as it came
//! to a provider that has it, and its answer back.

use crate::accounting::billing::BilledUsage;
use crate::auth::keys::Caller;
use crate::error::GatewayError;
use crate::gateway::attempt::attempt_loop;
use crate::gateway::attempt::attempt_loop::{AttemptPlan, AttemptResult, Fallbacks};
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
use crate::protocols::rerank::{read_rerank, search_units};
use crate::protocols::shape::Shape;
use crate::protocols::usage;
use crate::runtime::buffer;
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
    let headers = &request.head.headers;
    let asked = read_rerank(request.body, &mut core.scratch.borrow_mut())?;
    let route = find_model(snapshot, &asked.model, grant, &mut trip.model)?;
    trip.stage_done(core, Stage::Read);
    let plan = AttemptPlan {
        call: UpstreamOperation::Rerank,
        face: trip.face,
        body: request.body,
        model_range: &asked.model_range,
        usage_edit: None,
        streams: false,
        passed_headers: forward_headers::passed_headers(headers, trip.face, &trip.request_id),
        asker: attempt_loop::asker(headers, trip.key),
        priority: grant.priority,
        patience: RequestDeadline::new(headers, route, trip.started_at)?,
        may_hedge: false,
        // Scores of another model cannot be compared with those of this one.
        fallbacks: Fallbacks::default(),
        steer: RouteConstraints::new(snapshot, grant, headers, &Shape::default())?,
    };
    if let AttemptResult::Whole(answer) =
        attempt_loop::run(core, &[route], &plan, client, trip).await?
    {
        if (200..300).contains(&answer.status) {
            let units = search_units(&answer.body);
            let tokens = usage::in_answer(&answer.body);
            let tokens = tokens.filter(|usage| usage.prompt > 0);
            trip.buy(
                core,
                match (units, tokens) {
                    (Some(units), _) => BilledUsage::Searches(units),
                    (None, Some(usage)) => BilledUsage::Reported(usage),
                    (None, None) => BilledUsage::Unknown,
                },
            );
        }
        let mut out = buffer::take(512 + answer.body.len());
        respond::begin_head(&mut out, answer.status, trip, client);
        out.extend_from_slice(&answer.head.passed);
        if answer.status >= 400 {
            respond::advise(&mut out, trip);
        }
        let _ = respond::finish_whole(client, out, &answer.body).await;
        buffer::give(answer.body);
    }
    Ok(())
}
