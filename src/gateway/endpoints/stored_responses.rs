//! Serves requests about one stored response by its id: the provider that stores it handles them, with the API key that
//! made it. Ids are sealed (`auth/response_ids.rs`), so the gateway stores nothing about them.

use crate::auth::response_ids::ResponseIdSeal;
use crate::error::code::ErrorCode;
use crate::error::gateway_error::GatewayError;
use crate::gateway::attempt::attempt_error;
use crate::gateway::attempt::response::RESPONSE_BYTES_MAX;
use crate::gateway::attempt::response_body::{BodyLimits, ResponseBodyError, read_to_end};
use crate::gateway::context::request_context::RequestContext;
use crate::gateway::core::Core;
use crate::gateway::endpoints::authenticated_request::AuthenticatedRequest;
use crate::gateway::endpoints::proxy_headers::ProxiedHead;
use crate::gateway::endpoints::proxy_request;
use crate::gateway::endpoints::proxy_request::ProxyRequest;
use crate::gateway::plan::stored_responses::{find, seal};
use crate::gateway::snapshot::provider::Provider;
use crate::gateway::streaming::raw_body::{BodyStart, RawBodyRelay};
use crate::gateway::streaming::stream_end::StreamEnd;
use crate::gateway::streaming::stream_response;
use crate::gateway::streaming::upload::UploadBody;
use crate::gateway::transform::id_sealing::seal_ids;
use crate::observability::metrics::requests::Stage;
use crate::protocols::operation_kind::OperationKind;
use crate::protocols::passthrough;
use crate::protocols::passthrough::ProviderProxy;
use crate::protocols::responses::client::stored_responses::StoredResponseCall;
use crate::runtime::buffer;
use crate::runtime::clock;
use crate::server::client::Client;
use crate::upstream::exchange::{UpstreamBodyError, UpstreamResponse};

/// Serves the request. Its usage is not counted, because it was counted when the response was made. Only a background
/// response is then still without usage, and its tokens are not counted at all.
///
/// # Errors
/// The caller has no such response, or the provider did not respond.
pub(crate) async fn serve(
    core: &Core,
    incoming: AuthenticatedRequest<'_>,
    call: StoredResponseCall<'_>,
    client: &mut Client,
    ctx: &mut RequestContext,
) -> Result<(), GatewayError> {
    let AuthenticatedRequest {
        snapshot,
        request,
        caller,
    } = incoming;
    let Some(found) = find(snapshot, caller, call.id) else {
        let message = format!("Response with id '{}' not found.", call.id);
        return Err(GatewayError::new(ErrorCode::ResponseNotFound, message));
    };
    let backend = found.backend;
    let seal = seal(backend, found.key_index, caller)
        .ok_or_else(|| GatewayError::new(ErrorCode::InternalError, "the seal was lost"))?;
    // The request does not name the model.
    (ctx.route.target, ctx.route.model) = (Some(backend.any_model), Some(backend.any_model));
    ctx.stage_done(core, Stage::Read);
    let rest = ["/responses/", found.id, call.rest, call.query].concat();
    passthrough::check_path(&rest)?;
    let proxy_request = ProxyRequest {
        backend,
        key_index: found.key_index,
        request,
        proxy: ProviderProxy {
            provider: None,
            rest: &rest,
            operation: OperationKind::StoredResponse,
        },
        request_id: &ctx.identity.request_id,
    };
    let bytes = proxy_request.encode(&UploadBody::Whole(request.body.into()))?;
    ctx.stage_done(core, Stage::Route);
    let method = request.head.method;
    let upstream_response = proxy_request::send(core, backend, bytes, method, client, ctx).await?;
    if upstream_response.head.is_encoded {
        // Ids of the provider in it could not be sealed.
        return Err(attempt_error::compressed(backend).error);
    }
    let relay = StoredResponseRelay {
        core,
        backend,
        seal,
        id: found.id,
    };
    if upstream_response.head.is_event_stream && upstream_response.status < 300 {
        relay.stream(upstream_response, client, ctx).await;
        return Ok(());
    }
    relay.buffered(upstream_response, client, ctx).await
}

/// Relays a response about a stored response to the client, with the provider's ids sealed.
struct StoredResponseRelay<'r> {
    core: &'r Core,
    backend: &'r Provider,
    seal: ResponseIdSeal,
    /// The provider's own id of the stored response.
    id: &'r str,
}

impl StoredResponseRelay<'_> {
    /// Relays events as they arrive.
    async fn stream(
        self,
        mut upstream_response: UpstreamResponse<ProxiedHead>,
        client: &mut Client,
        ctx: &mut RequestContext,
    ) {
        let (core, endpoint) = (self.core, &self.backend.endpoint);
        ctx.format.streams = true;
        let mut raw_body = RawBodyRelay::sealed(self.seal);
        let header_lines = std::mem::take(&mut upstream_response.head.lines);
        let start = BodyStart {
            bytes: buffer::take(buffer::CLASS_BYTES[0]),
            is_done: false,
            head: stream_response::begin(upstream_response.status, &header_lines, client, ctx),
        };
        let end = raw_body
            .pump(
                &core.scratch,
                &mut upstream_response,
                endpoint.timeouts.read,
                start,
                client,
            )
            .await;
        if matches!(end, StreamEnd::Complete) {
            upstream_response.finish(endpoint, &core.pool);
        }
        raw_body.conclude(core, end, client, ctx).await;
    }

    /// Relays a response once it is complete.
    async fn buffered(
        self,
        mut upstream_response: UpstreamResponse<ProxiedHead>,
        client: &mut Client,
        ctx: &mut RequestContext,
    ) -> Result<(), GatewayError> {
        let (core, backend) = (self.core, self.backend);
        let mut body = buffer::take(buffer::CLASS_BYTES[0]);
        let began_at = clock::recent();
        let limits = BodyLimits {
            bytes_max: RESPONSE_BYTES_MAX,
            read_timeout: backend.endpoint.timeouts.read,
            deadline: None,
        };
        let mut reservation = core.response_memory.reservation();
        let reserved = &mut reservation;
        let read = read_to_end(&mut upstream_response, &mut body, reserved, limits, client).await;
        read.map_err(|error| match error {
            ResponseBodyError::Body(UpstreamBodyError::Interrupted(interruption)) => {
                attempt_error::interrupted(interruption)
            }
            ResponseBodyError::NoRoom => core.response_memory.refusal(),
            ResponseBodyError::Body(error) => proxy_request::closed_early(backend, error.why()),
            _ => proxy_request::closed_early(backend, "it is too large"),
        })?;
        ctx.timing.waited_since(began_at);
        let header_lines = std::mem::take(&mut upstream_response.head.lines);
        let status = upstream_response.status;
        upstream_response.finish(&backend.endpoint, &core.pool);
        {
            let mut scratch = core.scratch.borrow_mut();
            seal_ids(&self.seal, Some(self.id), status, &mut body, &mut scratch);
        }
        proxy_request::write_buffered(status, &header_lines, &body, client, ctx).await;
        buffer::give(body);
        Ok(())
    }
}
