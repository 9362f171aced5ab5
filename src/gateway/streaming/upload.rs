//! A body that goes to one provider while it arrives. It must not know where it goes (`direct.rs`).

use crate::error::code::ErrorCode;
use crate::error::gateway_error::GatewayError;
use crate::gateway::attempt::classify;
use crate::gateway::context::request_context::RequestContext;
use crate::gateway::core::Core;
use crate::gateway::endpoints::provider_proxy::{Passed, read_head};
use crate::gateway::snapshot::Provider;
use crate::routing::indices::KeyIndex;
use crate::runtime::clock;
use crate::runtime::io::{Interruption, SocketError};
use crate::server::client::Client;
use crate::server::connection::Request;
use crate::upstream::exchange::UpstreamResponse;
use crate::upstream::upload::{UploadError, upload};
use std::borrow::Cow;

/// A request's body, as it is to be sent.
pub(crate) enum Sent<'r> {
    /// It is all there.
    Whole(Cow<'r, [u8]>),
    /// So many bytes are on their way.
    Pieces(u64),
}

/// The body: one that is on its way is waited for if the provider's signature covers it.
///
/// # Errors
/// It did not come.
pub(crate) async fn body<'r>(
    backend: &Provider,
    request: &Request<'r>,
    client: &mut Client,
    ctx: &mut RequestContext,
) -> Result<Sent<'r>, GatewayError> {
    let Some(length) = client.upload.as_ref().map(|one| one.length()) else {
        return Ok(Sent::Whole(request.body.into()));
    };
    let held = backend.held();
    let signs = backend
        .auth(held.as_deref(), KeyIndex::default())
        .is_ok_and(|one| one.signs());
    if !signs {
        return Ok(Sent::Pieces(length));
    }
    let began_at = clock::recent();
    let whole = client.whole_upload().await;
    ctx.timing.waited_since(began_at);
    whole
        .map(|bytes| Sent::Whole(bytes.into()))
        .map_err(|fault| match fault {
            SocketError::Deadline => late(),
            _ => classify::interrupted(Interruption::ClientGone),
        })
}

fn late() -> GatewayError {
    let message = "the request body did not arrive in time (server.body_timeout)";
    GatewayError::new(ErrorCode::RequestTimeout, message)
}

/// Sends `head`, then the body as it comes, and waits for the head of the answer. Once, over a fresh connection.
///
/// # Errors
/// What the client is told.
pub(crate) async fn ask(
    core: &Core,
    backend: &Provider,
    head: Vec<u8>,
    client: &mut Client,
    ctx: &mut RequestContext,
) -> Result<UpstreamResponse<Passed>, GatewayError> {
    ctx.route.attempts += 1;
    let sent_at = clock::recent();
    let (outcome, used) = upload(&backend.endpoint, head, client, read_head).await;
    ctx.timing.waited_since(sent_at);
    let mut metrics = core.metrics.borrow_mut();
    metrics
        .upstream
        .connects
        .add(u64::from(used.connect.is_some()));
    let told = match &outcome {
        Ok(upstream_response) => backend.dialect.judge(upstream_response.status).outcome,
        Err(UploadError::Upstream(fault)) => fault.outcome(),
        Err(UploadError::Late) => "request_timeout",
    };
    metrics
        .upstream
        .attempts
        .increment((backend.any_model, told));
    match outcome {
        Ok(upstream_response) => {
            ctx.timing.first_byte = Some(
                upstream_response
                    .first_byte_at
                    .saturating_duration_since(sent_at),
            );
            Ok(upstream_response)
        }
        Err(UploadError::Late) => Err(late()),
        Err(UploadError::Upstream(fault)) => {
            let failed = classify::failed(backend, &fault);
            ctx.outcome.detail = Some(failed.detail);
            Err(failed.fault)
        }
    }
}
