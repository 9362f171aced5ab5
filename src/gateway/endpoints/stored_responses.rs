//! What providers keep of answers to Responses: whose it is, which requests may go on from it, and what is
//! asked of it by its id. Ids are sealed (`admission/seal.rs`), so that nothing need be remembered here.

use crate::auth::keys::Caller;
use crate::auth::response_ids::ResponseIdSeal;
use crate::error::code::ErrorCode;
use crate::error::gateway_error::GatewayError;
use crate::gateway::attempt::attempt_loop::ANSWER_BYTES_MAX;
use crate::gateway::attempt::classify;
use crate::gateway::context::request_context::RequestContext;
use crate::gateway::core::Core;
use crate::gateway::endpoints::provider_proxy;
use crate::gateway::endpoints::provider_proxy::Passed;
use crate::gateway::plan::candidates::RouteConstraints;
use crate::gateway::snapshot::{Backend, ModelRoute, Provider, Snapshot};
use crate::gateway::streaming::id_sealing::seal_response;
use crate::gateway::streaming::raw_body::{BodyStart, RawBodyRelay};
use crate::gateway::streaming::stream_end::StreamEnd;
use crate::gateway::streaming::stream_response;
use crate::gateway::streaming::upload::UploadBody;
use crate::observability::metrics::requests::Stage;
use crate::protocols::json::document::Scratch;
use crate::protocols::operation_kind::OperationKind;
use crate::protocols::passthrough::ProviderProxy;
use crate::protocols::request::chat_request::ChatRequest;
use crate::protocols::request::stored_state::State;
use crate::protocols::responses::client::stored_responses;
use crate::protocols::responses::client::stored_responses::StoredResponseCall;
use crate::protocols::responses::vocabulary;
use crate::routing::indices::KeyIndex;
use crate::runtime::buffer;
use crate::runtime::clock;
use crate::runtime::source::BodyProgress;
use crate::server::client::Client;
use crate::server::connection::Request;
use crate::upstream::exchange::UpstreamBodyError;
use crate::upstream::exchange::{UpstreamError, UpstreamResponse};
use std::borrow::Cow;
use std::sync::Arc;

/// What a provider keeps of a request's answer, and of the one before.
pub(crate) struct StoredResponses<'s> {
    caller: Caller<'s>,
    /// The answer that the request goes on from.
    pub previous: Option<Previous>,
}

/// The answer that a request goes on from.
pub(crate) struct Previous {
    /// Its id at the provider.
    pub id: String,
    /// The API key that made it.
    pub key_index: KeyIndex,
}

impl StoredResponses<'_> {
    /// What seals answers that `site` gives by the key of this lane.
    #[must_use]
    pub(crate) fn seal(&self, backend: &Provider, key_index: KeyIndex) -> Option<ResponseIdSeal> {
        keeps(backend, self.caller).then_some(())?;
        seal(backend, key_index, self.caller)
    }
}

/// Whether a provider takes Responses as they are.
fn is_native(backend: &Provider) -> bool {
    backend.responses.is_some() || backend.dialect.native() == vocabulary::NAME
}

/// Whether what a provider keeps is served to this caller. Without a key there is nothing to seal with:
/// then only if there is nobody else to seal it from.
fn keeps(backend: &Provider, caller: Caller<'_>) -> bool {
    let has_secret = || {
        let mut keys = backend.api_keys.iter();
        keys.len() > 0 && keys.all(|key| !key.0.is_empty())
    };
    is_native(backend) && (caller.is_alone || has_secret())
}

fn seal(backend: &Provider, key_index: KeyIndex, caller: Caller<'_>) -> Option<ResponseIdSeal> {
    let secret = match backend.api_keys.get(key_index.get()) {
        Some(key) => &key.0,
        None if backend.api_keys.is_empty() && key_index.get() == 0 => "",
        None => return None,
    };
    Some(ResponseIdSeal::new(
        secret,
        &backend.provider,
        caller.tenant,
    ))
}

/// The answer called `sealed`, if it is one of this caller's: provider, lane, and its id there.
fn find<'s, 'i>(
    snapshot: &'s Snapshot,
    caller: Caller<'_>,
    sealed: &'i str,
) -> Option<(&'s Arc<Provider>, KeyIndex, &'i str)> {
    let sites = snapshot.sites.iter();
    let mut sites = sites
        .filter(|backend| keeps(backend, caller) && provider_proxy::is_allowed(caller, backend));
    sites.find_map(|backend| {
        let mut key_indices = (0..backend.api_keys.len().max(1)).map(KeyIndex::new);
        key_indices.find_map(|key_index| {
            Some((
                backend,
                key_index,
                seal(backend, key_index, caller)?.open(sealed)?,
            ))
        })
    })
}

/// Says which providers a request may go to for what it takes from kept answers, and puts the provider's
/// own id in its place.
///
/// # Errors
/// 400 naming what no provider of the models can serve, or an answer that is not the caller's.
pub(crate) fn settle<'s>(
    snapshot: &'s Snapshot,
    caller: Caller<'s>,
    (chat, body): (&mut ChatRequest, &mut Cow<'_, [u8]>),
    models: &[&ModelRoute],
    constraints: &mut RouteConstraints<'s>,
) -> Result<(), GatewayError> {
    let state = chat.state.take();
    let found = match &state {
        Some(state) => named(snapshot, caller, state, models, constraints)?,
        None => None,
    };
    let has_state = state.as_ref().is_some_and(|one| one.field().is_some());
    if let (Some(found), Some(given)) =
        (&found, state.as_ref().and_then(|one| one.previous.as_ref()))
    {
        let from = given.range.start + found.id.len();
        let range = from..given.range.end;
        // What is in front of it stays where it is.
        if chat.model_range.start > from {
            chat.model_range.start -= range.len();
            chat.model_range.end -= range.len();
        }
        body.to_mut().drain(range);
    }
    if chat.stores || has_state {
        constraints.kept = Some(StoredResponses {
            caller,
            previous: found,
        });
    }
    chat.state = state;
    Ok(())
}

/// Which providers may be asked; the answer that the request goes on from, if it does.
fn named(
    snapshot: &Snapshot,
    caller: Caller<'_>,
    state: &State,
    models: &[&ModelRoute],
    constraints: &mut RouteConstraints<'_>,
) -> Result<Option<Previous>, GatewayError> {
    let providers = |wanted: &dyn Fn(&Provider) -> bool| {
        let targets = models.iter().flat_map(|route| &route.targets);
        let sites = targets.filter_map(|target| match &target.backend {
            Backend::Remote(backend) if wanted(backend) => Some(backend.provider.clone()),
            _ => None,
        });
        sites.collect::<Vec<_>>()
    };
    if let Some(place) = state.reference.as_ref().filter(|_| !caller.is_alone) {
        // Those who keep nothing cannot hand out what is another's.
        let others = providers(&|backend| !is_native(backend));
        if others.is_empty() || state.field().is_some() {
            return Err(stored_responses::refused_reference(place));
        }
        constraints.demand.keepers = Some(others);
    }
    if let Some(field) = state.field() {
        let keepers = providers(&|backend| keeps(backend, caller));
        if keepers.is_empty() {
            return Err(stored_responses::refused(field));
        }
        constraints.demand.keepers = Some(keepers);
    }
    let Some(previous) = &state.previous else {
        return Ok(None);
    };
    let is_plain = previous.range.len() == previous.id.len();
    let found = is_plain.then(|| find(snapshot, caller, &previous.id));
    let Some((backend, key_index, id)) = found.flatten() else {
        let message = format!("Previous response with id '{}' not found.", previous.id);
        let fault = GatewayError::new(ErrorCode::PreviousResponseNotFound, message);
        return Err(fault.on("previous_response_id"));
    };
    constraints.demand.keepers = Some(vec![backend.provider.clone()]);
    Ok(Some(Previous {
        id: id.to_owned(),
        key_index,
    }))
}

/// Seals the ids in a whole answer; in an error, which speaks of the answer `id`, that one.
pub(crate) fn hide_ids(
    seal: &ResponseIdSeal,
    id: Option<&str>,
    status: u16,
    body: &mut Vec<u8>,
    scratch: &mut Scratch,
) {
    if status < 400 {
        return seal_response(seal, body, scratch);
    }
    let Some(id) = id else {
        return;
    };
    // Not within a longer word.
    let is_outside = |byte: Option<&u8>| !byte.is_some_and(|byte| ResponseIdSeal::takes(*byte));
    let mut out = Vec::with_capacity(body.len() + 128);
    let mut from = 0;
    for at in memchr::memmem::find_iter(body, id.as_bytes()) {
        let end = at + id.len();
        let before = at.checked_sub(1).and_then(|at| body.get(at));
        if is_outside(before) && is_outside(body.get(end)) {
            out.extend_from_slice(body.get(from..end).unwrap_or_default());
            out.extend_from_slice(&seal.of(id));
            from = end;
        }
    }
    out.extend_from_slice(body.get(from..).unwrap_or_default());
    *body = out;
}

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
            Ok(BodyProgress::More) if body.len() <= ANSWER_BYTES_MAX => continue,
            Ok(BodyProgress::More) => "it is too large".to_owned(),
            Err(UpstreamBodyError::Interrupted(why)) => {
                let fault = UpstreamError::Interrupted(why);
                return Err(classify::failed(backend, &fault).fault);
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
