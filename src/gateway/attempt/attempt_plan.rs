//! What is to be sent, and within which limits. It must not know which target it is sent to.

use crate::auth::keys::Caller;
use crate::base::key_priority::KeyPriority;
use crate::error::gateway_error::GatewayError;
use crate::gateway::context::request_context::RequestContext;
use crate::gateway::plan::affinity_key::affinity_key;
use crate::gateway::plan::candidates::RouteConstraints;
use crate::gateway::plan::deadline::RequestDeadline;
use crate::gateway::plan::forward_headers::{ForwardedHeaders, forwarded_headers};
use crate::gateway::snapshot::model::ModelRoute;
use crate::http::head::Headers;
use crate::protocols::client_api::ClientApi;
use crate::protocols::json::splice::Edit;
use crate::protocols::outgoing_request::UpstreamOperation;
use crate::protocols::provider_refusals::Refusal;
use crate::protocols::request::chat_request::ChatRequest;
use crate::routing::measurements::Series;
use std::ops::Range;

pub(crate) struct AttemptPlan<'p> {
    pub operation: UpstreamOperation,
    pub body: ClientBody<'p>,
    pub scope: RequestScope<'p>,
    /// A second attempt for the same request does no harm.
    pub may_hedge: bool,
    pub fallbacks: Fallbacks<'p>,
}

/// A body as the client sent it, and where it is edited.
#[derive(Clone, Copy)]
pub(crate) struct ClientBody<'p> {
    /// The API that the client called, whose format the body has.
    pub client_api: &'static dyn ClientApi,
    pub bytes: &'p [u8],
    /// Where the model's name is in the body.
    pub model_range: &'p Range<usize>,
    /// Makes the provider report the usage of a stream.
    pub usage_edit: Option<&'p Edit>,
    /// The client wants a stream.
    pub streams: bool,
}

/// What holds for all attempts of a request.
pub(crate) struct RequestScope<'p> {
    pub forwarded_headers: ForwardedHeaders,
    pub affinity_key: Option<u64>,
    pub deadline: RequestDeadline,
    pub constraints: RouteConstraints<'p>,
    /// Whose requests go first when targets are busy.
    pub priority: KeyPriority,
}

/// The models for a request that is refused for its content.
#[derive(Clone, Copy, Default)]
pub(crate) struct Fallbacks<'s> {
    /// For one that exceeds the context window.
    pub context_length: Option<&'s ModelRoute>,
    /// For one that the content policy forbids.
    pub content_policy: Option<&'s ModelRoute>,
}

impl<'s> Fallbacks<'s> {
    pub(crate) fn of(&self, refusal: Refusal) -> Option<&'s ModelRoute> {
        match refusal {
            Refusal::ContextLength => self.context_length,
            Refusal::ContentPolicy => self.content_policy,
        }
    }
}

impl<'p> ClientBody<'p> {
    /// The body of a chat request. `bytes` are those that were parsed to `chat`.
    pub(crate) fn of_chat(
        client_api: &'static dyn ClientApi,
        bytes: &'p [u8],
        chat: &'p ChatRequest,
    ) -> Self {
        Self {
            client_api,
            bytes,
            model_range: &chat.model_range,
            usage_edit: chat.usage_edit.as_ref(),
            streams: chat.stream,
        }
    }
}

impl<'p> RequestScope<'p> {
    /// # Errors
    /// 400 for a malformed deadline.
    pub(crate) fn new(
        headers: &Headers<'_>,
        caller: &Caller<'_>,
        route: &ModelRoute,
        constraints: RouteConstraints<'p>,
        ctx: &RequestContext,
    ) -> Result<Self, GatewayError> {
        let deadline = RequestDeadline::new(headers, route, ctx.timing.started_at)?;
        Ok(Self::with_deadline(
            headers,
            caller,
            constraints,
            deadline,
            ctx,
        ))
    }

    pub(crate) fn with_deadline(
        headers: &Headers<'_>,
        caller: &Caller<'_>,
        constraints: RouteConstraints<'p>,
        deadline: RequestDeadline,
        ctx: &RequestContext,
    ) -> Self {
        let (client_api, request_id) = (ctx.format.client_api, &ctx.identity.request_id);
        Self {
            forwarded_headers: forwarded_headers(headers, client_api, request_id),
            affinity_key: affinity_key(headers, ctx.identity.key),
            deadline,
            constraints,
            priority: caller.priority,
        }
    }
}

impl<'p> AttemptPlan<'p> {
    /// A plan without hedging, and without fallbacks for refused content.
    #[must_use]
    pub(crate) fn new(
        operation: UpstreamOperation,
        body: ClientBody<'p>,
        scope: RequestScope<'p>,
    ) -> Self {
        Self {
            operation,
            body,
            scope,
            may_hedge: false,
            fallbacks: Fallbacks::default(),
        }
    }

    /// The series of latencies that this request belongs to.
    pub(crate) fn series(&self) -> Series {
        Series::of_request(self.body.streams, self.body.bytes.len())
    }
}
