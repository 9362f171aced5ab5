//! Serves the list of models that the caller may use, and one model of it.

use crate::error::gateway_error::GatewayError;
use crate::gateway::context::request_context::RequestContext;
use crate::gateway::core::Core;
use crate::gateway::endpoints::authenticated_request::AuthenticatedRequest;
use crate::gateway::plan::request_plan::find_model;
use crate::gateway::respond;
use crate::http::percent;
use crate::protocols::endpoints::Operation;
use crate::server::client::Client;

/// # Errors
/// The caller has no such model.
pub(crate) async fn serve(
    core: &Core,
    incoming: AuthenticatedRequest<'_>,
    operation: Operation<'_>,
    client: &mut Client,
    ctx: &mut RequestContext,
) -> Result<(), GatewayError> {
    let AuthenticatedRequest {
        snapshot, caller, ..
    } = incoming;
    let created = core.shared.started_at;
    let body = match operation {
        Operation::Model(id) => {
            let name = percent::unescaped(id).unwrap_or(id.into());
            find_model(snapshot, &name, caller, &mut ctx.route.model)?;
            ctx.format.client_api.write_model(&name, created)
        }
        _ => {
            let names = snapshot.model_names.iter().map(String::as_str);
            let mut names = names.filter(|name| caller.allows(name));
            ctx.format.client_api.write_models(&mut names, created)
        }
    };
    let _ = respond::whole(client, ctx, 200, "application/json", &body).await;
    Ok(())
}
