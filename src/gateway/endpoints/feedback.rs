//! Serves ratings: a rating counts for the experiment arm of the request that it names.

use crate::auth::keys::Caller;
use crate::error::code::ErrorCode;
use crate::error::gateway_error::GatewayError;
use crate::gateway::context::request_context::RequestContext;
use crate::gateway::core::Core;
use crate::gateway::respond;
use crate::observability::rateable_requests::Unrateable;
use crate::protocols::feedback::read_feedback;
use crate::server::client::Client;
use crate::server::connection::Request;
use serde_json::json;

/// # Errors
/// The rating is invalid, or the request that it names cannot be rated.
pub(crate) async fn serve(
    core: &Core,
    request: &Request<'_>,
    caller: Caller<'_>,
    client: &mut Client,
    ctx: &mut RequestContext,
) -> Result<(), GatewayError> {
    let feedback = read_feedback(request.body, &mut core.scratch.borrow_mut())?;
    let taken = core.shared.ratings.take(caller.key, &feedback.request_id);
    let rated = taken.map_err(|reason| match reason {
        Unrateable::Unknown => GatewayError::new(
            ErrorCode::RequestNotFound,
            "no recent request of this key that belongs to an experiment has this id",
        ),
        Unrateable::Rated => {
            let message = "this request was rated before; the first rating counts";
            GatewayError::new(ErrorCode::AlreadyRated, message)
        }
    })?;
    ctx.route.model = Some(rated.arm.model);
    if rated.is_fair {
        core.metrics
            .borrow_mut()
            .arms
            .entry(rated.arm)
            .rate(feedback.score);
    }
    let response = json!({
        "object": "feedback",
        "request_id": feedback.request_id,
        "score": feedback.score,
        "counted": rated.is_fair,
    });
    let body = response.to_string();
    let _ = respond::whole(client, ctx, 200, "application/json", body.as_bytes()).await;
    Ok(())
}
