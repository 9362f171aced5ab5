//! What providers keep of answers to Responses: whose it is, which requests may go on from it, and what is
//! asked of it by its id. Ids are sealed (`admission/seal.rs`), so that nothing need be remembered here.

use crate::auth::keys::Caller;
use crate::auth::response_ids::ResponseIdSeal;
use crate::error::code::ErrorCode;
use crate::error::gateway_error::GatewayError;
use crate::gateway::attempt::attempt_error;
use crate::gateway::attempt::response::RESPONSE_BYTES_MAX;
use crate::gateway::context::request_context::RequestContext;
use crate::gateway::core::Core;
use crate::gateway::endpoints::provider_proxy;
use crate::gateway::endpoints::provider_proxy::Passed;
use crate::gateway::plan::stored_responses::{find, seal};
use crate::gateway::snapshot::provider::Provider;
use crate::gateway::snapshot::snapshot::Snapshot;
use crate::gateway::streaming::raw_body::{BodyStart, RawBodyRelay};
use crate::gateway::streaming::stream_end::StreamEnd;
use crate::gateway::streaming::stream_response;
use crate::gateway::streaming::upload::UploadBody;
use crate::gateway::transform::id_sealing::hide_ids;
use crate::observability::metrics::requests::Stage;
use crate::protocols::operation_kind::OperationKind;
use crate::protocols::passthrough::ProviderProxy;
use crate::protocols::responses::client::stored_responses::StoredResponseCall;
use crate::runtime::buffer;
use crate::runtime::clock;
use crate::runtime::source::BodyProgress;
use crate::server::client::Client;
use crate::server::connection::Request;
use crate::upstream::exchange::UpstreamBodyError;
use crate::upstream::exchange::{UpstreamError, UpstreamResponse};

/// Serves what is asked of a kept answer: by its provider, with the key that made it. Tokens are not
/// counted here: but for those of a background answer they were when it was made.
///
/// # Errors
/// What the client is told.
pub(crate) async fn serve(
    core: &Core,
    snapshot: &Snapshot,
    (request, call): (&Request<'_>, StoredResponseCall<'_>),
    caller: Caller<'_>,
    client: &mut Client,
    ctx: &mut RequestContext,
) -> Result<(), GatewayError> {
    let Some((backend, key_index, id)) = find(snapshot, caller, call.id) else {
        let message = format!("Response with id '{}' not found.", call.id);
        return Err(GatewayError::new(ErrorCode::ResponseNotFound, message));
    };
    let seal = seal(backend, key_index, caller)
        .ok_or_else(|| GatewayError::new(ErrorCode::InternalError, "the seal was lost"))?;
    // Which model it is about is not said.
    (ctx.route.target, ctx.route.model) = (Some(backend.any_model), Some(backend.any_model));
    ctx.stage_done(core, Stage::Read);
    let rest = ["/responses/", id, call.rest, call.query].concat();
    let asked = ProviderProxy {
        provider: None,
        rest: &rest,
        operation: OperationKind::StoredResponse,
    };
    let body = UploadBody::Whole(request.body.into());
    let bytes = provider_proxy::encoded(
        (backend, key_index),
        request,
        &body,
        asked,
        &ctx.identity.request_id,
    )?;
    ctx.stage_done(core, Stage::Route);
    let upstream_response =
        provider_proxy::ask(core, backend, bytes, request.head.method, client, ctx).await?;
    if upstream_response.head.is_event_stream && upstream_response.status < 300 {
        stream(core, backend, (upstream_response, seal), client, ctx).await;
        return Ok(());
    }
    whole(core, backend, upstream_response, (&seal, id), client, ctx).await
}

/// Passes events on as they come.
async fn stream(
    core: &Core,
    backend: &Provider,
    (mut upstream_response, seal): (UpstreamResponse<Passed>, ResponseIdSeal),
    client: &mut Client,
    ctx: &mut RequestContext,
) {
    ctx.format.streams = true;
    let mut raw_body = RawBodyRelay::sealed(seal);
    let passed = std::mem::take(&mut upstream_response.head.lines);
    let arrived = BodyStart {
        bytes: buffer::take(buffer::CLASS_BYTES[0]),
        is_done: false,
        head: stream_response::begin(upstream_response.status, &passed, client, ctx),
    };
    let timeout = backend.endpoint.timeouts.read;
    let end = raw_body
        .pump(
            &core.scratch,
            &mut upstream_response,
            timeout,
            arrived,
            client,
        )
        .await;
    if matches!(end, StreamEnd::Complete) {
        upstream_response.finish(&backend.endpoint, &core.pool);
    }
    raw_body.conclude(core, end, client, ctx).await;
}

/// Passes an answer on once it is whole.
async fn whole(
    core: &Core,
    backend: &Provider,
    mut upstream_response: UpstreamResponse<Passed>,
    (seal, id): (&ResponseIdSeal, &str),
    client: &mut Client,
    ctx: &mut RequestContext,
) -> Result<(), GatewayError> {
    let mut body = buffer::take(buffer::CLASS_BYTES[0]);
    let began_at = clock::recent();
    loop {
        let by = clock::recent() + backend.endpoint.timeouts.read;
        let why = match upstream_response.read(&mut body, by, client).await {
            Ok(BodyProgress::Done) => break,
            Ok(BodyProgress::More) if body.len() <= RESPONSE_BYTES_MAX => continue,
            Ok(BodyProgress::More) => "it is too large".to_owned(),
            Err(UpstreamBodyError::Interrupted(why)) => {
                let fault = UpstreamError::Interrupted(why);
                return Err(attempt_error::exchange_failed(backend, &fault).error);
            }
            Err(fault) => fault.why().to_owned(),
        };
        let message = format!(
            "the provider `{}` broke off in the middle of its answer ({why})",
            backend.provider
        );
        return Err(GatewayError::new(ErrorCode::UpstreamClosedEarly, message));
    }
    ctx.timing.waited_since(began_at);
    let passed = std::mem::take(&mut upstream_response.head.lines);
    let status = upstream_response.status;
    upstream_response.finish(&backend.endpoint, &core.pool);
    {
        let mut scratch = core.scratch.borrow_mut();
        hide_ids(seal, Some(id), status, &mut body, &mut scratch);
    }
    provider_proxy::write_whole((status, &passed), &body, client, ctx).await;
    buffer::give(body);
    Ok(())
}
