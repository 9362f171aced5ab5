//! The trip of a request that asks how many tokens a chat has: passed on to a provider that speaks the
//! same dialect. Ringside does not guess; a provider that cannot count refuses by name.

use crate::auth::keys::Grant;
use crate::error::Fault;
use crate::journey::attempt;
use crate::journey::attempt::{Attempted, Plan};
use crate::journey::core::Core;
use crate::journey::intent::find_model;
use crate::journey::passing;
use crate::journey::patience::Patience;
use crate::journey::reply;
use crate::journey::select::Steer;
use crate::journey::snapshot::Snapshot;
use crate::journey::trip::Trip;
use crate::observability::metrics::core_metrics::Stage;
use crate::protocols::provider_api::Call;
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
    grant: Grant<'_>,
    client: &mut Client,
    trip: &mut Trip,
) -> Result<(), Fault> {
    let (headers, face) = (&request.head.headers, trip.face);
    let asked = {
        let mut scratch = core.scratch.borrow_mut();
        face.read_head(request.head.target, request.body, &mut scratch, false)?
    };
    let route = find_model(snapshot, &asked.model, grant, &mut trip.model)?;
    trip.stage_done(core, Stage::Read);
    let plan = Plan {
        call: Call::CountTokens,
        face,
        body: request.body,
        model_range: &asked.model_range,
        usage_edit: None,
        streams: false,
        passed_headers: passing::passed_headers(headers, face, &trip.request_id),
        asker: attempt::asker(headers, trip.key),
        patience: Patience::new(headers, route, trip.started_at)?,
        fallbacks: attempt::Fallbacks::default(),
        steer: Steer::new(snapshot, grant, headers, &asked.shape)?,
        may_hedge: false,
        priority: grant.priority,
    };
    if let Attempted::Whole(answer) = attempt::run(core, &[route], &plan, client, trip).await? {
        reply::passed_on(client, trip, answer).await;
    }
    Ok(())
}
