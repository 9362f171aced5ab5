//! When all else is down: an answer past its time in the place of a failure.

use crate::cache::coalesce::call_end::End;
use crate::error::class::ErrorSource;
use crate::error::code::ErrorCode;
use crate::error::gateway_error::GatewayError;
use crate::gateway::attempt::attempt_loop::AttemptResult;
use crate::gateway::caching::lookup::CacheSession;
use crate::gateway::caching::serve_hit;
use crate::gateway::context::request_context::RequestContext;
use crate::gateway::core::Core;
use crate::protocols::request::chat_request::ChatRequest;
use crate::server::client::Client;

/// Serves an answer past its time if every target failed and there is one; true then.
pub(crate) async fn serve_instead(
    core: &Core,
    failure: Option<String>,
    cache: &CacheSession,
    chat: &ChatRequest,
    client: &mut Client,
    ctx: &mut RequestContext,
) -> Result<bool, GatewayError> {
    let Some(why) = failure else {
        return Ok(false);
    };
    let Some(hit) = cache.stale(chat, &why, ctx).await else {
        return Ok(false);
    };
    serve_hit::hit(core, &hit, chat, client, ctx).await?;
    Ok(true)
}

/// What every target failed with, in a word; `None` if they did not, or if the request is at fault.
pub(crate) fn failure_of(attempted: &Result<AttemptResult, GatewayError>) -> Option<String> {
    match attempted {
        Ok(AttemptResult::Whole(response)) => status_failure(response.status),
        Ok(AttemptResult::Stream(_)) => None,
        Err(fault) => fault_failure(fault),
    }
}

/// The same, of a call that was shared.
pub(crate) fn failure_of_call(end: &End) -> Option<String> {
    match end {
        End::Whole(whole) => status_failure(whole.head.status),
        End::Failed { error, .. } => fault_failure(error),
        End::Complete(_) | End::Stored | End::Lost => None,
    }
}

fn status_failure(status: u16) -> Option<String> {
    let failed = matches!(status, 408 | 429 | 500..=599);
    failed.then(|| format!("status {status}"))
}

fn fault_failure(fault: &GatewayError) -> Option<String> {
    // The gateway's own: a deadline that passed while targets were silent, or all were busy.
    let is_theirs = matches!(
        fault.code,
        ErrorCode::DeadlineExceeded | ErrorCode::Overloaded
    );
    let failed = fault.source == ErrorSource::Upstream || is_theirs;
    failed.then(|| fault.code.to_string())
}
