//! `stale_if_error`: an expired entry instead of an error, when every target failed.

use crate::cache::coalesce::call_end::End;
use crate::cache::freshness::classify::Freshness;
use crate::error::class::ErrorSource;
use crate::error::code::ErrorCode;
use crate::error::gateway_error::GatewayError;
use crate::gateway::caching::active_session::ActiveSession;
use crate::gateway::caching::hit::{Hit, semantic_reason};
use crate::gateway::caching::session::CacheSession;
use crate::gateway::context::cache::ServedEntry;
use crate::gateway::context::request_context::RequestContext;
use crate::observability::metrics::cache::CacheResult;
use crate::protocols::request::canonical_request::NotSemantic;
use crate::protocols::request::chat_request::ChatRequest;
use crate::protocols::status_class::StatusClass;
use crate::runtime::clock;
use std::borrow::Cow;

/// What every target failed with: a status or the code of an error.
pub(crate) type UpstreamFailure = Cow<'static, str>;

/// `None` if the status is no failure of the target, or if the request is at fault.
pub(crate) fn status_failure(status: u16) -> Option<UpstreamFailure> {
    let failed = StatusClass::of(status).is_target_failure();
    failed.then(|| format!("status {status}").into())
}

/// `None` if the error is not the target's fault.
pub(crate) fn error_failure(error: &GatewayError) -> Option<UpstreamFailure> {
    // Errors of the gateway, but caused by targets: all were silent until the deadline, or busy.
    let is_by_targets = matches!(
        error.code,
        ErrorCode::DeadlineExceeded | ErrorCode::Overloaded
    );
    let failed = error.source == ErrorSource::Upstream || is_by_targets;
    failed.then(|| error.code.as_str().into())
}

/// The same for the end of a shared call.
pub(crate) fn call_failure(end: &End) -> Option<UpstreamFailure> {
    match end {
        End::Whole(whole) => status_failure(whole.head.status),
        End::Failed { error, .. } => error_failure(error),
        End::Complete(_) | End::Stored | End::Lost => None,
    }
}

impl CacheSession {
    /// Looks for an expired entry since every target failed: for the same request, then for the same question in
    /// other words.
    pub(crate) async fn look_up_stale(
        &self,
        failure: Option<UpstreamFailure>,
        chat: &ChatRequest,
        ctx: &mut RequestContext,
    ) -> Option<Hit> {
        let (active, failure) = (self.readable()?, failure?);
        let class = active.class();
        if !active.may_be_stale(chat, class) {
            return None;
        }
        let store = &active.core.shared.store;
        let (entry, reason) = match store.get_stale(active.key(), active.stale_for, clock::now()) {
            Some(entry) => (entry, "same request".to_owned()),
            None if active.terms(class).allows_semantic => {
                let found = active.look_up_stale_semantic().await?;
                let reason = semantic_reason(found.similarity, found.confidence);
                (found.entry, reason)
            }
            None => return None,
        };
        let served = ServedEntry {
            id: entry.id,
            age: entry.age(clock::now()),
        };
        let reason = format!("every target failed ({failure}); {reason}");
        ctx.cache.hit(CacheResult::Stale, reason, served);
        Some(Hit {
            entry,
            scores: None,
        })
    }
}

impl ActiveSession {
    /// Never in the turn of an agent, which acts on the response, and not for a question whose answer changes within
    /// minutes or is about the client's own affairs.
    fn may_be_stale(&self, chat: &ChatRequest, class: Freshness) -> bool {
        let is_agents =
            chat.shape.has_tools || self.semantic == Err(NotSemantic::LastMessageNotUser);
        !self.stale_for.is_zero() && !is_agents && class.is_lasting()
    }
}
