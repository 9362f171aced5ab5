//! Serves requests that go to one provider unchanged: `/providers/{name}/…`, and the resources that a provider stores
//! (`/v1/files`, `/v1/batches`). No routing and no failover, because no other provider has the resource.

use crate::accounting::billing::BilledUsage;
use crate::auth::keys::Caller;
use crate::base::request_ids;
use crate::error::code::ErrorCode;
use crate::error::gateway_error::GatewayError;
use crate::gateway::attempt::attempt_error;
use crate::gateway::context::request_context::RequestContext;
use crate::gateway::core::Core;
use crate::gateway::endpoints::authenticated_request::AuthenticatedRequest;
use crate::gateway::endpoints::proxy_headers::{ProxiedHead, read_head};
use crate::gateway::endpoints::proxy_request;
use crate::gateway::endpoints::proxy_request::ProxyRequest;
use crate::gateway::plan::stored_responses::is_allowed;
use crate::gateway::snapshot::provider::Provider;
use crate::gateway::snapshot::snapshot::Snapshot;
use crate::gateway::streaming::raw_body::{BodyStart, RawBodyRelay};
use crate::gateway::streaming::stream_end::StreamEnd;
use crate::gateway::streaming::stream_response;
use crate::gateway::streaming::upload;
use crate::gateway::streaming::upload::UploadBody;
use crate::headers;
use crate::http::head::Headers;
use crate::observability::metrics::requests::Stage;
use crate::protocols::openai::vocabulary;
use crate::protocols::passthrough;
use crate::protocols::passthrough::{ProviderProxy, usage_in};
use crate::routing::indices::KeyIndex;
use crate::runtime::buffer;
use crate::runtime::clock;
use crate::runtime::source::BodyProgress;
use crate::server::client::Client;
use crate::upstream::exchange::UpstreamBodyError;
use crate::upstream::exchange::{UpstreamError, UpstreamResponse};
use std::sync::Arc;

/// # Errors
/// The path is invalid, the key may not reach the provider, or the provider did not respond.
pub(crate) async fn serve(
    core: &Core,
    incoming: AuthenticatedRequest<'_>,
    proxy: ProviderProxy<'_>,
    client: &mut Client,
    ctx: &mut RequestContext,
) -> Result<(), GatewayError> {
    let AuthenticatedRequest {
        snapshot,
        request,
        caller,
    } = incoming;
    passthrough::check_path(proxy.rest)?;
    let backend = match proxy.provider {
        Some(name) => find_named(snapshot, caller, name)?,
        None => find_owner(snapshot, caller, &request.head.headers)?,
    };
    // Only the path is read, so the model is not known.
    (ctx.route.target, ctx.route.model) = (Some(backend.any_model), Some(backend.any_model));
    ctx.stage_done(core, Stage::Read);
    let body = upload::body(backend, request, client, ctx).await?;
    let proxy_request = ProxyRequest {
        backend,
        key_index: KeyIndex::new(request_ids::random() as usize % backend.api_keys.len().max(1)),
        request,
        proxy,
        request_id: &ctx.identity.request_id,
    };
    let bytes = proxy_request.encode(&body)?;
    ctx.stage_done(core, Stage::Route);
    let upstream_response = match body {
        UploadBody::Streamed(_) => {
            upload::send(core, backend, bytes, read_head, client, ctx).await?
        }
        UploadBody::Whole(_) => {
            let method = request.head.method;
            proxy_request::send(core, backend, bytes, method, client, ctx).await?
        }
    };
    relay(core, backend, upstream_response, client, ctx).await
}

/// The provider called `name`, if the caller's key may reach it.
fn find_named<'s>(
    snapshot: &'s Snapshot,
    caller: Caller<'_>,
    name: &str,
) -> Result<&'s Arc<Provider>, GatewayError> {
    let found = snapshot
        .providers
        .iter()
        .find(|backend| backend.provider == name);
    found.filter(|backend| may_reach(caller, backend)).ok_or_else(|| {
        // The same error whether or not the provider exists, so that a key cannot find out which providers there are.
        let message = format!(
            "there is no provider `{name}` that this key may reach directly; `providers` of the key lists them"
        );
        GatewayError::new(ErrorCode::ProviderNotAllowed, message)
    })
}

/// The provider whose files and batches are meant: the one that a header names, or the only one that the key may reach.
fn find_owner<'s>(
    snapshot: &'s Snapshot,
    caller: Caller<'_>,
    headers: &Headers<'_>,
) -> Result<&'s Arc<Provider>, GatewayError> {
    if let Some(name) = headers::PROVIDER.read_str(headers) {
        return find_named(snapshot, caller, name.trim());
    }
    let candidates: Vec<_> = snapshot
        .providers
        .iter()
        .filter(|backend| backend.dialect.native_client_api() == vocabulary::NAME)
        .filter(|backend| may_reach(caller, backend))
        .collect();
    match candidates.as_slice() {
        [only] => Ok(only),
        [] => Err(GatewayError::new(
            ErrorCode::ProviderNotAllowed,
            "files and batches belong to a provider's account, and this key may reach no provider of OpenAI's dialect directly; `providers` of the key lists those it may",
        )),
        several => {
            let names: Vec<&str> = several
                .iter()
                .map(|backend| backend.provider.as_str())
                .collect();
            let message = format!(
                "files and batches belong to one provider; name it in `{}`: {}",
                headers::PROVIDER,
                names.join(", ")
            );
            Err(GatewayError::new(ErrorCode::ProviderMissing, message).on(headers::PROVIDER.name()))
        }
    }
}

fn may_reach(caller: Caller<'_>, backend: &Provider) -> bool {
    caller.may_proxy(&backend.provider) && is_allowed(caller, backend)
}

/// Relays the response: with `content-length` if it arrived in one read, else chunk by chunk.
async fn relay(
    core: &Core,
    backend: &Provider,
    mut upstream_response: UpstreamResponse<ProxiedHead>,
    client: &mut Client,
    ctx: &mut RequestContext,
) -> Result<(), GatewayError> {
    let timeout = backend.endpoint.timeouts.read;
    let mut bytes = buffer::take(buffer::CLASS_BYTES[0]);
    let began_at = clock::recent();
    let read = upstream_response
        .read(&mut bytes, began_at + timeout, client)
        .await;
    ctx.timing.waited_since(began_at);
    let status = upstream_response.status;
    let is_done = match read {
        Ok(progress) => progress == BodyProgress::Done,
        Err(UpstreamBodyError::Interrupted(interruption)) => {
            let error = UpstreamError::Interrupted(interruption);
            return Err(attempt_error::exchange_failed(backend, &error).error);
        }
        Err(error) => return Err(proxy_request::closed_early(backend, error.why())),
    };
    let header_lines = std::mem::take(&mut upstream_response.head.lines);
    if !is_done {
        let mut raw_body = RawBodyRelay::raw();
        ctx.format.streams = true;
        let head = stream_response::begin(status, &header_lines, client, ctx);
        let start = BodyStart {
            bytes,
            is_done,
            head,
        };
        let end = raw_body
            .pump(
                &core.scratch,
                &mut upstream_response,
                timeout,
                start,
                client,
            )
            .await;
        ctx.record_billed_usage(core, raw_body.billed_usage());
        if matches!(end, StreamEnd::Complete) {
            upstream_response.finish(&backend.endpoint, &core.pool);
        }
        raw_body.conclude(core, end, client, ctx).await;
        return Ok(());
    }
    upstream_response.finish(&backend.endpoint, &core.pool);
    if let Some(usage) = usage_in(&bytes).filter(|_| status < 300) {
        ctx.record_billed_usage(core, BilledUsage::Reported(usage));
    }
    proxy_request::write_buffered(status, &header_lines, &bytes, client, ctx).await;
    buffer::give(bytes);
    Ok(())
}
