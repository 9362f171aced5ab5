//! Handles one request from start to end, stage by stage; the only file that knows all stages.
//!
//! authenticate → read → exact cache → semantic cache → route → exchange → relay → record usage → access log
//!
//! A stage gets plain values and does not call the next one.

use crate::auth::keys::Caller;
use crate::error::code::ErrorCode;
use crate::error::gateway_error::GatewayError;
use crate::gateway::attempt::attempt_error;
use crate::gateway::attempt::attempt_loop;
use crate::gateway::attempt::attempt_plan::{AttemptPlan, ClientBody, Fallbacks, RequestScope};
use crate::gateway::attempt::response::AttemptResult;
use crate::gateway::caching::client_controls::ClientControls;
use crate::gateway::caching::coalesce;
use crate::gateway::caching::coalesce::{CoalesceOutcome, SharedOutcome};
use crate::gateway::caching::hit::Hit;
use crate::gateway::caching::serve_hit::serve_hit;
use crate::gateway::caching::session::{CacheSession, CacheableRequest};
use crate::gateway::caching::stale;
use crate::gateway::caller;
use crate::gateway::context::request_context::RequestContext;
use crate::gateway::context::route::RequestArm;
use crate::gateway::core::{Core, CurrentSnapshot};
use crate::gateway::endpoints::authenticated_request::AuthenticatedRequest;
use crate::gateway::endpoints::count_tokens;
use crate::gateway::endpoints::embeddings;
use crate::gateway::endpoints::feedback;
use crate::gateway::endpoints::models;
use crate::gateway::endpoints::passthrough;
use crate::gateway::endpoints::provider_proxy;
use crate::gateway::endpoints::rerank;
use crate::gateway::endpoints::stored_responses;
use crate::gateway::experiments::hit_sampling::HitSample;
use crate::gateway::experiments::mirroring::Mirror;
use crate::gateway::experiments::sampled_request::SampledRequest;
use crate::gateway::plan::candidates::RouteConstraints;
use crate::gateway::plan::deadline::RequestDeadline;
use crate::gateway::plan::forward_headers;
use crate::gateway::plan::forward_headers::ForwardedHeaders;
use crate::gateway::plan::request_plan::{RequestParser, RequestPlan};
use crate::gateway::respond;
use crate::gateway::snapshot::model::ModelRoute;
use crate::gateway::snapshot::snapshot::Snapshot;
use crate::gateway::streaming::buffered_response;
use crate::gateway::streaming::client_stream;
use crate::gateway::streaming::response_sinks::ResponseSinks;
use crate::gateway::streaming::shared_stream;
use crate::gateway::streaming::upstream_stream::UpstreamStream;
use crate::gateway::transform::json_array::JsonArray;
use crate::headers;
use crate::http::head::{Headers, Method};
use crate::observability::metrics::requests::Stage;
use crate::protocols::anthropic::vocabulary;
use crate::protocols::endpoints;
use crate::protocols::endpoints::{NoOperation, Operation};
use crate::protocols::outgoing_request::UpstreamOperation;
use crate::protocols::registry;
use crate::protocols::request::chat_request::ChatRequest;
use crate::runtime::heap::on_heap;
use crate::server::client::Client;
use crate::server::connection::{Admission, Request, Serve};
use std::rc::Rc;

/// Serves the requests of a core.
pub(crate) struct Pipeline {
    pub core: Rc<Core>,
}

impl Serve for Pipeline {
    async fn serve(&self, request: &Request<'_>, client: &mut Client) {
        let core = &self.core;
        let snapshot = core.snapshot();
        let mut ctx = RequestContext::new(request);
        if let Err(error) = dispatch(core, &snapshot, request, client, &mut ctx).await {
            respond::error(client, &mut ctx, &error).await;
        }
        client.followers = None;
        ctx.finish(core, snapshot.config.log.requests);
    }

    fn admit(&self, request: &Request<'_>) -> Result<Admission, GatewayError> {
        let (snapshot, head) = (self.core.snapshot(), request.head);
        let client_api = registry::client_api_for(head.target);
        let operation = find_operation(head.method, head.target)?;
        let caller = caller::authenticate(&snapshot, request, client_api)?;
        Ok(Admission {
            reservation: Some(self.core.body_memory.reservation(caller.key)),
            in_pieces: matches!(operation, Operation::ProviderProxy(_)),
        })
    }

    async fn refuse(&self, request: &Request<'_>, error: &GatewayError, client: &mut Client) {
        let snapshot = self.core.snapshot();
        let mut ctx = RequestContext::new(request);
        if describe(request, &mut ctx).is_ok()
            && let Ok(caller) = caller::authenticate(&snapshot, request, ctx.format.client_api)
        {
            (ctx.identity.key, ctx.identity.team) = (caller.key, caller.team);
        }
        respond::error(client, &mut ctx, error).await;
        ctx.finish(&self.core, snapshot.config.log.requests);
    }

    async fn reject(&self, error: &GatewayError, client: &mut Client) {
        let mut ctx = RequestContext::rejected();
        respond::error(client, &mut ctx, error).await;
        ctx.finish(&self.core, self.core.snapshot().config.log.requests);
    }
}

/// Finds the operation of a request, and the format in which it is answered.
fn describe<'r>(
    request: &'r Request<'_>,
    ctx: &mut RequestContext,
) -> Result<Operation<'r>, GatewayError> {
    let head = request.head;
    ctx.format.client_api = registry::client_api_for(head.target);
    let is_array = ctx.format.client_api.streams_array(head.target);
    ctx.format.array = is_array.then(JsonArray::default);
    let operation = find_operation(head.method, head.target)?;
    ctx.identity.operation = operation.kind();
    if let Operation::Models | Operation::Model(_) = operation {
        let has_version = head.headers.get(vocabulary::VERSION_HEADER).is_some();
        ctx.format.client_api = registry::client_api_for_models(ctx.format.client_api, has_version);
    }
    Ok(operation)
}

/// Finds the operation and the caller of a request, and serves it.
async fn dispatch(
    core: &Rc<Core>,
    snapshot: &CurrentSnapshot,
    request: &Request<'_>,
    client: &mut Client,
    ctx: &mut RequestContext,
) -> Result<(), GatewayError> {
    let operation = describe(request, ctx)?;
    let caller = caller::authenticate(snapshot, request, ctx.format.client_api)?;
    ctx.identity.key = caller.key;
    ctx.identity.team = caller.team;
    let incoming = AuthenticatedRequest {
        snapshot,
        request,
        caller,
    };
    // The other futures are on the heap, so that the future of a chat does not reserve room for them.
    match operation {
        Operation::Chat(_) => chat(core, snapshot, request, caller, client, ctx).await,
        Operation::CountTokens(_) => {
            on_heap(|| count_tokens::serve(core, incoming, client, ctx)).await
        }
        Operation::Embeddings => on_heap(|| embeddings::serve(core, incoming, client, ctx)).await,
        Operation::Feedback => feedback::serve(core, request, caller, client, ctx).await,
        Operation::Rerank => on_heap(|| rerank::serve(core, incoming, client, ctx)).await,
        Operation::Passthrough(endpoint) => {
            on_heap(|| passthrough::serve(core, incoming, endpoint, client, ctx)).await
        }
        Operation::ProviderProxy(proxy) => {
            on_heap(|| provider_proxy::serve(core, incoming, proxy, client, ctx)).await
        }
        Operation::StoredResponse(call) => {
            on_heap(|| stored_responses::serve(core, incoming, call, client, ctx)).await
        }
        Operation::Models | Operation::Model(_) => {
            models::serve(core, incoming, operation, client, ctx).await
        }
    }
}

/// Serves a chat request: from the cache, from the call of an identical request, or from upstream.
async fn chat(
    core: &Rc<Core>,
    snapshot: &CurrentSnapshot,
    request: &Request<'_>,
    caller: Caller<'_>,
    client: &mut Client,
    ctx: &mut RequestContext,
) -> Result<(), GatewayError> {
    let (headers, client_api) = (&request.head.headers, ctx.format.client_api);
    let controls = ClientControls::read(request.head, client_api)?;
    let may_call_upstream = controls.may_call_upstream();
    let RequestPlan {
        mut chat,
        body,
        models,
        constraints,
    } = parse(core, snapshot, request, caller, &controls, ctx)?;
    let route = *models.first().ok_or_else(attempt_error::no_target)?;
    note_choice(core, &constraints, ctx);
    let cacheable = CacheableRequest {
        caller,
        model: route.name,
        identity: route.identity ^ constraints.identity(),
        stale_for: route.failover.stale_if_error,
        canonical: chat.canonical.take(),
    };
    let mut cache = CacheSession::new(core, snapshot, controls, cacheable);
    ctx.stage_done(core, Stage::Read);

    // A request with an effect beyond its response is not sent twice.
    let may_repeat = !chat.has_effect() && headers::IDEMPOTENCY_KEY.read(headers).is_none();
    let sampled = SampledRequest {
        route,
        chat: &chat,
        body: &body,
        constraints: &constraints,
        client_api,
        may_repeat,
    };
    if let Some(hit) = look_up(core, &mut cache, ctx).await {
        let sample = HitSample::draw(core, &cache, &hit, &sampled);
        serve_hit(core, &hit, &chat, client, ctx).await;
        send_sample(core, snapshot, sample, headers, ctx);
        return Ok(());
    }
    may_call_upstream?;
    let deadline = RequestDeadline::new(headers, route, ctx.timing.started_at)?;
    let mut mirror = Mirror::draw(&sampled);

    let plan = AttemptPlan {
        operation: UpstreamOperation::Chat,
        body: ClientBody::of_chat(client_api, &body, &chat),
        may_hedge: may_repeat,
        fallbacks: find_fallbacks(snapshot, &constraints, route, caller),
        scope: RequestScope::with_deadline(headers, &caller, constraints, deadline, ctx),
    };
    let upstream = UpstreamRequest {
        core,
        models: &models,
        plan: &plan,
        chat: &chat,
    };
    let outcome = go_upstream(&upstream, cache, mirror.as_deref_mut(), client, ctx).await;
    send_mirror(core, snapshot, mirror, headers, ctx);
    outcome
}

/// Repeats a sampled hit upstream, in the background.
fn send_sample(
    core: &Rc<Core>,
    snapshot: &CurrentSnapshot,
    sample: Option<Box<HitSample>>,
    headers: &Headers<'_>,
    ctx: &RequestContext,
) {
    if let Some(sample) = sample {
        sample.send(core, Rc::clone(snapshot), forwarded_headers(headers, ctx));
    }
}

/// Sends the request to its mirror target too, in the background.
fn send_mirror(
    core: &Rc<Core>,
    snapshot: &CurrentSnapshot,
    mirror: Option<Box<Mirror>>,
    headers: &Headers<'_>,
    ctx: &RequestContext,
) {
    if let Some(mirror) = mirror {
        mirror.send(core, Rc::clone(snapshot), forwarded_headers(headers, ctx));
    }
}

/// The client's headers that go to providers with this request.
fn forwarded_headers(headers: &Headers<'_>, ctx: &RequestContext) -> ForwardedHeaders {
    let (client_api, request_id) = (ctx.format.client_api, &ctx.identity.request_id);
    forward_headers::forwarded_headers(headers, client_api, request_id)
}

fn parse<'s, 'b>(
    core: &Core,
    snapshot: &'s Snapshot,
    request: &Request<'b>,
    caller: Caller<'s>,
    controls: &ClientControls,
    ctx: &mut RequestContext,
) -> Result<RequestPlan<'s, 'b>, GatewayError> {
    let parser = RequestParser {
        snapshot,
        caller,
        client_api: ctx.format.client_api,
        head: request.head,
        body: request.body,
        with_canonical: snapshot.config.cache.enabled && !controls.excludes_cache(),
    };
    let plan = parser.read(&mut core.scratch.borrow_mut(), &mut ctx.route.model)?;
    ctx.format.streams = plan.chat.stream;
    Ok(plan)
}

/// Records the rule and the arm of the request, for the log and so that the client can rate the response.
fn note_choice(core: &Core, constraints: &RouteConstraints<'_>, ctx: &mut RequestContext) {
    ctx.route.rule = constraints.rule.map(|rule| rule.name);
    if let Some(chosen) = &constraints.arm {
        let (key, request_id) = (ctx.identity.key, &ctx.identity.request_id);
        chosen.remember(core, key, request_id);
        ctx.route.arm = Some(RequestArm {
            id: chosen.arm.id,
            label: chosen.arm.label,
            is_fair: chosen.is_fair,
            has_left: false,
        });
    }
}

/// A chat request that is not in the cache.
struct UpstreamRequest<'r> {
    core: &'r Rc<Core>,
    models: &'r [&'r ModelRoute],
    plan: &'r AttemptPlan<'r>,
    chat: &'r ChatRequest,
}

/// Joins the call of an identical request in flight, or sends attempts and relays the response.
async fn go_upstream(
    request: &UpstreamRequest<'_>,
    mut cache: CacheSession,
    mirror: Option<&mut Mirror>,
    client: &mut Client,
    ctx: &mut RequestContext,
) -> Result<(), GatewayError> {
    let UpstreamRequest {
        core,
        models,
        plan,
        chat,
    } = *request;
    let leader = match coalesce::join(core, &mut cache, models, plan, client, ctx).await? {
        CoalesceOutcome::Call(leader) => leader,
        // On the heap, because it is rare and the future of every chat would reserve room for it.
        CoalesceOutcome::Shared(shared) => {
            return on_heap(|| serve_shared(request, shared, &cache, client, ctx)).await;
        }
    };
    let attempted = attempt_loop::run(core, models, plan, client, ctx).await;
    let failure = match &attempted {
        Ok(AttemptResult::Whole(response)) => stale::status_failure(response.status),
        Ok(AttemptResult::Stream(_)) => None,
        Err(error) => {
            if let Some(leader) = &leader {
                coalesce::fail_call(leader, error, ctx);
            }
            stale::error_failure(error)
        }
    };
    if let Some(hit) = cache.look_up_stale(failure, chat, ctx).await {
        serve_hit(core, &hit, chat, client, ctx).await;
        return Ok(());
    }
    let attempted = attempted?;
    let target = ctx.route.target;
    let has_left = ctx.route.fell_back || plan.scope.constraints.is_other_arm(models, target);
    if let Some(arm) = &mut ctx.route.arm {
        arm.has_left = has_left;
    }
    if has_left {
        cache.turn_off();
    }
    let sinks = ResponseSinks {
        cache,
        leader,
        mirror,
    };
    relay(core, attempted, chat, sinks, client, ctx).await;
    Ok(())
}

/// Serves what an identical request in flight, or a hit that was stored in the meantime, has for this request.
async fn serve_shared(
    request: &UpstreamRequest<'_>,
    shared: SharedOutcome,
    cache: &CacheSession,
    client: &mut Client,
    ctx: &mut RequestContext,
) -> Result<(), GatewayError> {
    let (core, chat) = (request.core, request.chat);
    let hit = match shared {
        SharedOutcome::Hit(hit) => hit,
        SharedOutcome::Stream { follower, head } => {
            let wants_usage = chat.wants_usage;
            shared_stream::relay_stream(core, &follower, &head, wants_usage, client, ctx).await;
            return Ok(());
        }
        SharedOutcome::Ended(end) => {
            let failure = stale::call_failure(&end);
            match cache.look_up_stale(failure, chat, ctx).await {
                Some(hit) => hit,
                None => return shared_stream::relay_end(core, end, client, ctx).await,
            }
        }
    };
    serve_hit(core, &hit, chat, client, ctx).await;
    Ok(())
}

/// Looks for the request in the exact, then in the semantic cache.
async fn look_up(core: &Core, cache: &mut CacheSession, ctx: &mut RequestContext) -> Option<Hit> {
    if let Some(hit) = cache.look_up_exact(ctx) {
        return Some(hit);
    }
    ctx.stage_done(core, Stage::Exact);
    if let Some(hit) = cache.look_up_semantic(ctx).await {
        return Some(hit);
    }
    ctx.stage_done(core, Stage::Semantic);
    None
}

/// Relays a response to the client and to its other sinks.
async fn relay(
    core: &Rc<Core>,
    attempted: AttemptResult,
    chat: &ChatRequest,
    mut sinks: ResponseSinks<'_>,
    client: &mut Client,
    ctx: &mut RequestContext,
) {
    match attempted {
        AttemptResult::Whole(response) => {
            buffered_response::relay(core, response, sinks, client, ctx).await;
        }
        AttemptResult::Stream(response) => {
            let mut mirror = sinks.mirror.take();
            let reader = mirror.as_mut().and_then(|mirror| mirror.take_reader());
            let client_api = ctx.format.client_api;
            let mut stream = UpstreamStream::new(core, response, client_api, chat, sinks, reader);
            if ctx.format.array.is_some() {
                stream.relay.set_array();
            }
            client_stream::relay(core, stream, mirror, client, ctx).await;
        }
    }
}

fn find_operation(method: Method, target: &str) -> Result<Operation<'_>, GatewayError> {
    endpoints::operation(method, target).map_err(|reason| match reason {
        NoOperation::NotFound => GatewayError::new(
            ErrorCode::UnknownPath,
            format!(
                "no such path: `{}`; served are {}",
                target.split('?').next().unwrap_or_default(),
                endpoints::PATHS
            ),
        ),
        NoOperation::MethodNotAllowed(allow) => GatewayError {
            allow: Some(allow),
            ..GatewayError::new(
                ErrorCode::MethodNotAllowed,
                format!("this path takes {allow} only"),
            )
        },
    })
}

/// The models to try when the targets of this one reject a request for its content, as far as the key allows them. None
/// for a request that continues a stored response, because only one provider has it.
fn find_fallbacks<'s>(
    snapshot: &'s Snapshot,
    constraints: &RouteConstraints<'_>,
    route: &ModelRoute,
    caller: Caller<'_>,
) -> Fallbacks<'s> {
    if constraints.key_index().is_some() {
        return Fallbacks::default();
    }
    let find = |name: &Option<String>| {
        let name = name.as_ref().filter(|name| caller.allows(name))?;
        snapshot.models.get(name)
    };
    let names = &route.failover.fallback;
    Fallbacks {
        context_length: find(&names.context_length),
        content_policy: find(&names.content_policy),
    }
}
