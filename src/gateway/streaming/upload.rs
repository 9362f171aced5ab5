//! Sends a request body to one provider while it arrives. It must not know which endpoint the request is for.

use crate::error::code::ErrorCode;
use crate::error::gateway_error::GatewayError;
use crate::gateway::attempt::attempt_error;
use crate::gateway::attempt::classify;
use crate::gateway::context::request_context::RequestContext;
use crate::gateway::core::Core;
use crate::gateway::snapshot::provider::Provider;
use crate::http::head::ResponseHead;
use crate::observability::metrics::upstream::AttemptOutcome;
use crate::routing::indices::KeyIndex;
use crate::runtime::clock;
use crate::runtime::io::Interruption;
use crate::server::client::{Client, WholeUploadError};
use crate::server::connection::Request;
use crate::upstream::exchange::UpstreamResponse;
use crate::upstream::upload::{UploadError, upload};
use std::borrow::Cow;

/// A request's body, as it is sent upstream.
pub(crate) enum UploadBody<'r> {
    Whole(Cow<'r, [u8]>),
    /// So many bytes are sent as they arrive.
    Streamed(u64),
}

/// The body of a request. One that is still arriving is waited for if the provider's signature covers it.
///
/// # Errors
/// The body did not arrive.
pub(crate) async fn body<'r>(
    backend: &Provider,
    request: &Request<'r>,
    client: &mut Client,
    ctx: &mut RequestContext,
) -> Result<UploadBody<'r>, GatewayError> {
    let Some(length) = client.upload.as_ref().map(|upload| upload.length()) else {
        return Ok(UploadBody::Whole(request.body.into()));
    };
    let held = backend.held();
    let signs = backend
        .auth(held.as_deref(), KeyIndex::default())
        .is_ok_and(|auth| auth.signs());
    if !signs {
        return Ok(UploadBody::Streamed(length));
    }
    let began_at = clock::recent();
    let whole = client.whole_upload().await;
    ctx.timing.waited_since(began_at);
    whole
        .map(|bytes| UploadBody::Whole(bytes.into()))
        .map_err(|error| match error {
            WholeUploadError::Late => body_timeout(),
            WholeUploadError::Gone => attempt_error::interrupted(Interruption::ClientGone),
            WholeUploadError::Refused(error) => error,
        })
}

fn body_timeout() -> GatewayError {
    let message = "the request body did not arrive in time (server.body_timeout)";
    GatewayError::new(ErrorCode::RequestTimeout, message)
}

/// Sends `head`, then the body as it arrives, and waits for the head of the response. Once, over a new connection.
///
/// # Errors
/// The provider did not respond, or the body did not arrive.
pub(crate) async fn send<H>(
    core: &Core,
    backend: &Provider,
    head: Vec<u8>,
    read_head: impl Fn(&ResponseHead<'_>) -> H,
    client: &mut Client,
    ctx: &mut RequestContext,
) -> Result<UpstreamResponse<H>, GatewayError> {
    ctx.route.attempts += 1;
    let sent_at = clock::recent();
    let (outcome, used) = upload(&backend.endpoint, head, client, read_head).await;
    ctx.timing.waited_since(sent_at);
    let mut metrics = core.metrics.borrow_mut();
    metrics
        .upstream
        .connects
        .add(u64::from(used.connect.is_some()));
    let label = match &outcome {
        Ok(upstream_response) => {
            AttemptOutcome::Status(backend.dialect.classify_status(upstream_response.status))
        }
        Err(UploadError::Upstream(error)) => classify::outcome_of_error(error),
        Err(UploadError::Late) => AttemptOutcome::RequestTimeout,
    };
    metrics
        .upstream
        .attempts
        .increment((backend.any_model, label));
    match outcome {
        Ok(upstream_response) => {
            ctx.timing.first_byte = Some(
                upstream_response
                    .first_byte_at
                    .saturating_duration_since(sent_at),
            );
            Ok(upstream_response)
        }
        Err(UploadError::Late) => Err(body_timeout()),
        Err(UploadError::Upstream(error)) => {
            let failed = attempt_error::exchange_failed(backend, &error);
            ctx.outcome.detail = Some(failed.detail);
            Err(failed.error)
        }
    }
}
